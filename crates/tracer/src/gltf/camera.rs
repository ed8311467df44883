//! Cameras: those of the file adapted to the frame's shape, and one that frames a scene without any.

use super::error::{Fault, entry};
use super::hierarchy::Hierarchy;
use super::limits::COORDINATE_MAX;
use super::schema;
use crate::math::{self, Vec3, vec3};
use crate::transform::Affine;
use crate::world::{Camera, Projection};
use protocol::Size;

/// Tangent of half the angle of view along the longer side of an automatic frame: a 50 mm lens on 36 mm film.
const FRAMING_TAN_HALF: f32 = 0.36;
/// Part of the frame that is kept free around an automatically framed scene, on each side.
const FRAMING_MARGIN: f32 = 0.05;
/// From the scene's centre to the automatic camera: glTF's front is +z, so this sees front, right and top.
const FRAMING_DIRECTION: Vec3 = vec3(0.55, 0.4, 0.9);

/// The lens of a camera of the file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lens {
    Perspective {
        tan_half_y: f32,
        /// Width over height of the frame that it was made for, if the file says so.
        aspect: Option<f32>,
        near: f32,
        far: f32,
    },
    Orthographic {
        half_width: f32,
        half_height: f32,
        near: f32,
        far: f32,
    },
}

/// The camera that the scene is seen through: the first in the order of the shown nodes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShownCamera {
    pub node: usize,
    pub lens: Lens,
}

/// Reads the cameras of the shown nodes: the first of them, and the names of all.
pub(super) fn cameras(
    entries: &[schema::Camera],
    hierarchy: &Hierarchy,
) -> Result<(Option<ShownCamera>, Vec<String>), Fault> {
    let (mut first, mut names) = (None, Vec::new());
    for &node in &hierarchy.shown {
        let Some(index) = hierarchy.nodes[node].camera else {
            continue;
        };
        let camera = entry(entries, index, "camera")?;
        let name = hierarchy.nodes[node].name.as_ref().or(camera.name.as_ref());
        names.push(name.cloned().unwrap_or_else(|| format!("camera {index}")));
        if first.is_none() {
            let lens = lens(camera)?;
            first = Some(ShownCamera { node, lens });
        }
    }
    Ok((first, names))
}

fn lens(camera: &schema::Camera) -> Result<Lens, Fault> {
    let positive = |value: f32| value > 0.0 && value.is_finite();
    let wrong = || Fault::damaged("a camera has an impossible lens");
    if let Some(perspective) = &camera.perspective {
        let far = perspective.zfar.unwrap_or(f32::INFINITY);
        let lens = Lens::Perspective {
            tan_half_y: libm::tanf(perspective.yfov / 2.0),
            aspect: perspective.aspect_ratio.filter(|&aspect| positive(aspect)),
            near: perspective.znear,
            far,
        };
        let angle = perspective.yfov > 0.0 && perspective.yfov < std::f32::consts::PI;
        let range = perspective.znear >= 0.0 && far > perspective.znear;
        return (angle && range).then_some(lens).ok_or_else(wrong);
    }
    let orthographic = camera.orthographic.as_ref().ok_or_else(wrong)?;
    let lens = Lens::Orthographic {
        half_width: orthographic.xmag.abs(),
        half_height: orthographic.ymag.abs(),
        near: orthographic.znear,
        far: orthographic.zfar,
    };
    let sides = positive(orthographic.xmag.abs()) && positive(orthographic.ymag.abs());
    let range = orthographic.znear >= 0.0 && orthographic.zfar > orthographic.znear;
    (sides && range).then_some(lens).ok_or_else(wrong)
}

fn aspect(size: Size) -> f32 {
    size.width as f32 / size.height as f32
}

impl Lens {
    /// The camera at a place in the world for a frame of this size. What the lens was made to show stays in
    /// sight: a frame of another shape shows more, never less.
    pub fn camera(&self, node: &Affine, size: Size) -> Result<Camera, Fault> {
        let position = node.translation;
        if !position
            .to_array()
            .iter()
            .all(|c| c.abs() <= COORDINATE_MAX)
        {
            return Err(Fault::damaged("the camera is out of reach"));
        }
        let (right, up, forward) = axes(node);
        let (projection, near, far) = match *self {
            Lens::Perspective {
                tan_half_y,
                aspect: made_for,
                near,
                far,
            } => {
                let widening = made_for.map_or(1.0, |made_for| made_for / aspect(size));
                let tan_half_y = tan_half_y * math::max(widening, 1.0);
                (Projection::Perspective { tan_half_y }, near, far)
            }
            Lens::Orthographic {
                half_width,
                half_height,
                near,
                far,
            } => {
                let half_height = math::max(half_height, half_width / aspect(size));
                (Projection::Orthographic { half_height }, near, far)
            }
        };
        Ok(Camera {
            position,
            right,
            up,
            forward,
            projection,
            near,
            far,
        })
    }
}

/// Right, up and forward of a node: orthonormal whatever its scale or shear, right-handed even if mirrored.
fn axes(node: &Affine) -> (Vec3, Vec3, Vec3) {
    let directions = node.directions();
    let usable = |v: Vec3| v.is_finite() && v != Vec3::ZERO;
    let forward = Some(directions.tangent(vec3(0.0, 0.0, -1.0)))
        .filter(|&v| usable(v))
        .unwrap_or(vec3(0.0, 0.0, -1.0));
    // A node whose up axis has collapsed or lies along the view still needs some up.
    let candidates = [
        directions.tangent(vec3(0.0, 1.0, 0.0)),
        vec3(0.0, 1.0, 0.0),
        vec3(0.0, 0.0, -1.0),
    ];
    let right = candidates
        .into_iter()
        .map(|up| forward.cross(up))
        .find(|right| right.is_finite() && right.length() > 1e-4)
        .unwrap_or(vec3(1.0, 0.0, 0.0))
        .normalized();
    (right, right.cross(forward).normalized(), forward)
}

/// Right, up and forward of the automatic camera: the same whatever it frames.
fn framing_axes() -> (Vec3, Vec3, Vec3) {
    let forward = -FRAMING_DIRECTION.normalized();
    let right = forward.cross(vec3(0.0, 1.0, 0.0)).normalized();
    (right, right.cross(forward), forward)
}

/// A box around points, along the axes of the automatic camera.
#[derive(Debug)]
pub(super) struct ViewBounds {
    axes: (Vec3, Vec3, Vec3),
    min: Vec3,
    max: Vec3,
}

impl ViewBounds {
    /// Contains nothing yet.
    pub fn new() -> ViewBounds {
        ViewBounds {
            axes: framing_axes(),
            min: Vec3::splat(f32::INFINITY),
            max: Vec3::splat(f32::NEG_INFINITY),
        }
    }

    /// Grows to contain a point of the world.
    pub fn include(&mut self, point: Vec3) {
        let (right, up, forward) = self.axes;
        let seen = vec3(point.dot(right), point.dot(up), point.dot(forward));
        self.min = self.min.min(seen);
        self.max = self.max.max(seen);
    }

    /// A camera that sees all of the box from its front, right and above, as close as the frame's shape allows.
    pub fn camera(&self, size: Size) -> Camera {
        let (right, up, forward) = self.axes;
        let centre = self.min * 0.5 + self.max * 0.5;
        let half = self.max * 0.5 - self.min * 0.5;
        let aspect = aspect(size);
        let tan_half_y = FRAMING_TAN_HALF / math::max(aspect, 1.0);
        let usable = 1.0 - 2.0 * FRAMING_MARGIN;
        // The box's near side is the hardest to get into sight: its corners are `half.z` closer than the centre.
        let away = math::max(half.x / (tan_half_y * aspect), half.y / tan_half_y) / usable;
        let distance = away + half.z;
        // A scene of a single point has no size to go by.
        let distance = if distance > 0.0 { distance } else { 1.0 };
        let place = vec3(centre.x, centre.y, centre.z - distance);
        Camera {
            position: right * place.x + up * place.y + forward * place.z,
            right,
            up,
            forward,
            projection: Projection::Perspective { tan_half_y },
            near: math::max(away * 0.5, 0.0),
            far: f32::INFINITY,
        }
    }
}
