"""Files for a Kubernetes ConfigMap."""

from runyard.packagers.configmap import ConfigMapPackager

__all__ = ["ConfigMapPackager"]
