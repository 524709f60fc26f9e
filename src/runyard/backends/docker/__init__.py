"""Docker: one container for each task, or for each member of a group.

``plan`` makes the containers' options (pure), ``byhand`` the same as ``docker run`` commands, ``outcome`` judges how a
job stands (pure), ``engine`` and ``files`` are the only modules that talk to docker-py, ``backend`` puts them together.

``address`` says which engine, ``transport`` how it is reached. For one on another machine ``delivery`` brings files
there, ``mirror`` brings logs and results back, ``volumes`` what is pulled, with the help of ``helper``; ``remote`` puts
these together.
"""
