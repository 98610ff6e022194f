"""The volumes of a pod on the DPU, as a kubelet and a container runtime set them up.

Rules cite Kubernetes v1.37.2 and CRI-O.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dpunetop.sandbox.realovn.podspec import ContainerSpec, Mount, NotSupported, PodSpec
from dpunetop.sandbox.realovn.rootfs import Root

Contents = Mapping[str, Mapping[str, str]]
"""The data of ConfigMaps or of Secrets, by the name of the object."""


class Volumes:
    """The volumes of one pod.

    Guarantees: they outlive the containers of the pod, so the content of an emptyDir survives a restart of a container;
        a change of a ConfigMap or Secret is visible completely or not at all.
    Raises: KeyError, for a missing object; a kubelet does not start such a pod.
    """

    def __init__(self, pod: PodSpec, node: Root, folder: Path, objects: Contents) -> None:
        self._node = node
        self._folder = folder
        self._objects: dict[str, tuple[Path, int]] = {}
        self._sources = {volume["name"]: self._source(volume, objects) for volume in pod.volumes}

    def mount(self, container: ContainerSpec, root: Root) -> None:
        """Mount the volumes of a container in the order of their paths, so that none hides another.

        Source: CRI-O server/container_create_linux.go `addOCIBindMounts`; pkg/kubelet/kubelet_pods.go `makeHostsMount`.
        """
        for file in ("/etc/hosts", "/etc/resolv.conf"):
            root.bind(self._node.inside(file), file)
        for mount in sorted(container.mounts, key=lambda mount: mount.path):
            root.bind(self._part(mount), mount.path, *mount.options)

    def publish(self, name: str, data: Mapping[str, str]) -> None:
        """Replace the data of a ConfigMap or Secret, as a kubelet's sync does."""
        folder, mode = self._objects[name]
        _write(folder, data, mode)

    def close(self) -> None:
        """Remove the pod's own volumes; folders of the DPU stay."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _source(self, volume: Mapping[str, Any], objects: Contents) -> Path:
        match volume:
            case {"hostPath": host}:
                return self._host_path(host["path"], host.get("type", ""))
            case {"emptyDir": {}}:
                return _made(self._folder / volume["name"])
            case {"configMap": config}:
                return self._object(volume["name"], config["name"], objects, config.get("defaultMode", 0o644))
            case {"secret": secret}:
                return self._object(volume["name"], secret["secretName"], objects, secret.get("defaultMode", 0o644))
        raise NotSupported(f"volume {volume['name']}")

    def _host_path(self, path: str, kind: str) -> Path:
        """A folder of the DPU; it is created if it does not exist.

        Source: pkg/volume/hostpath/host_path.go `checkType` checks nothing if the type is empty; CRI-O creates a
            missing folder: server/container_create_linux.go `addOCIBindMounts`.
        """
        if kind:
            raise NotSupported(f"hostPath {path} of type {kind}")
        found = self._node.inside(path)
        return found if found.exists() else _made(found)

    def _object(self, volume: str, name: str, objects: Contents, mode: int) -> Path:
        folder = _made(self._folder / volume)
        _write(folder, objects[name], mode)
        self._objects[name] = (folder, mode)
        return folder

    def _part(self, mount: Mount) -> Path:
        # pkg/kubelet/kubelet_pods.go `makeMounts`: a missing subPath is created as a folder.
        source = self._sources[mount.volume]
        if not mount.sub_path:
            return source
        part = source / mount.sub_path
        return part if part.exists() else _made(part)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(folder: Path, data: Mapping[str, str], mode: int) -> None:
    """Write each file as a link through `..data`, which is replaced in one step.

    Source: pkg/volume/util/atomic_writer.go.
    """
    link, old = folder / "..data", (folder / "..data").resolve()
    version = folder / f"..{0 if not link.exists() else int(old.name[2:]) + 1}"
    version.mkdir()
    for key, text in data.items():
        (version / key).write_text(text)
        (version / key).chmod(mode)
    (folder / "..data_tmp").symlink_to(version.name)
    os.rename(folder / "..data_tmp", link)
    for key in data:
        if not (folder / key).is_symlink():
            (folder / key).symlink_to(f"..data/{key}")
    for file in folder.iterdir():
        if not file.name.startswith("..") and file.name not in data:
            file.unlink()
    if old != link:
        shutil.rmtree(old)
