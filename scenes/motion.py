"""Rotations and keyframes: quaternions are (x, y, z, w) as in glTF, angles are in radians."""

import math


def add(a, b):
    """Sum of two vectors."""
    return tuple(x + y for x, y in zip(a, b))


def subtract(a, b):
    """Difference of two vectors."""
    return tuple(x - y for x, y in zip(a, b))


def scaled(a, factor):
    """A vector times a number."""
    return tuple(x * factor for x in a)


def dot(a, b):
    """Scalar product."""
    return sum(x * y for x, y in zip(a, b))


def cross(a, b):
    """Vector product."""
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )


def normalized(a):
    """The same direction with length one; zero stays zero."""
    length = math.sqrt(dot(a, a))
    return scaled(a, 1 / length) if length > 0 else a


def mix(a, b, t):
    """Linear interpolation of two vectors."""
    return tuple(x + (y - x) * t for x, y in zip(a, b))


def turn(axis, angle):
    """Rotation about an axis."""
    half = math.sin(angle / 2)
    x, y, z = normalized(axis)
    return (x * half, y * half, z * half, math.cos(angle / 2))


def turn_x(angle):
    """Rotation about x."""
    return turn((1, 0, 0), angle)


def turn_y(angle):
    """Rotation about y."""
    return turn((0, 1, 0), angle)


def turn_z(angle):
    """Rotation about z."""
    return turn((0, 0, 1), angle)


def compose(first, second):
    """The rotation that applies `second`, then `first`."""
    ax, ay, az, aw = first
    bx, by, bz, bw = second
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def rotate(rotation, vector):
    """A vector turned by a rotation."""
    imaginary = rotation[:3]
    twice = scaled(cross(imaginary, vector), 2)
    return add(add(vector, scaled(twice, rotation[3])), cross(imaginary, twice))


def look_at(eye, target):
    """The rotation of a camera or a light that looks along -z from `eye` to `target`, upright."""
    backward = normalized(subtract(eye, target))
    return compose(turn_y(math.atan2(backward[0], backward[2])), turn_x(-math.asin(backward[1])))


def face(place, target):
    """The rotation of a sheet at `place` whose front (+z) looks to `target`."""
    return look_at(target, place)


def frame_times(count, step, frame_rate=24):
    """Times of every `step`-th of `count` frames, and of the last one: frame 1 is time 0."""
    frames = [*range(0, count - 1, step), count - 1]
    return [frame / frame_rate for frame in frames]


def ease(t):
    """A path from 0 to 1 that starts and ends at rest."""
    return t * t * (3 - 2 * t)


def smooth_keys(times, curve):
    """CUBICSPLINE values of a curve: its value and slope at the given times (the slope by differences)."""
    step = 1e-3
    values = []
    for time in times:
        slope = scaled(subtract(curve(time + step), curve(time - step)), 1 / (2 * step))
        values += [slope, curve(time), slope]
    return values
