"""What Cycles can render with, and choosing one of them."""

import bpy
import _cycles

# As Cycles calls them. A version knows some of them only.
BACKENDS = ("CUDA", "OPTIX", "HIP", "ONEAPI", "METAL")


def preferences():
    return bpy.context.preferences.addons["cycles"].preferences


def listed(_command):
    """Every processor and graphics card, one of these for each way to use it."""
    found = {}
    for backend in BACKENDS:
        for device in _cycles.available_devices(backend):
            name, kind, identity = device[:3]
            found[(kind, identity)] = {"name": name, "backend": kind, "id": identity}
    return list(found.values())


def use(command):
    """Renders with this graphics card and nothing else from now on."""
    chosen, backend, identity = preferences(), command["backend"], command["id"]
    chosen.compute_device_type = backend
    chosen.refresh_devices()
    for device in chosen.devices:
        device.use = device.type == backend and device.id == identity
    return {}


ACTIONS = {"devices": listed, "use": use}


def setting():
    """What scenes have to be set to."""
    return "CPU" if preferences().get_compute_device_type() == "NONE" else "GPU"


def in_use(scene):
    """The graphics card that a scene renders with, as Cycles itself will find it; none if that is the processor."""
    chosen = preferences()
    backend = chosen.get_compute_device_type()
    if backend == "NONE" or scene.cycles.device != "GPU":
        return None
    wanted = {device.id for device in chosen.devices if device.use}
    there = [device for device in _cycles.available_devices(backend) if device[1] == backend and device[2] in wanted]
    return there[0][2] if len(there) == 1 else None
