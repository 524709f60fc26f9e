"""Docker: one container for each task, or for each member of a group.

``plan`` makes the containers' options (pure), ``byhand`` the same as ``docker run`` commands, ``outcome`` judges how a
job stands (pure), ``engine`` is the only module that talks to docker-py, ``backend`` puts them together.
"""
