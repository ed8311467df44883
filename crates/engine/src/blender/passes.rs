//! What Blender renders of a scene: passes of layers and views, and how their channels are dealt out to planes of four.

use crate::frame_file::Plane;
use protocol::{Pass, RenderedRect};
use serde::{Deserialize, Serialize};

/// A pass of a layer in one view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LayerPass {
    pub(super) layer: String,
    pub(super) pass: String,
    /// `left`, where the scene has views.
    pub(super) view: Option<String>,
    /// One letter a channel, such as `RGBA`.
    pub(super) channels: String,
    /// Is it denoised before it is used?
    #[serde(default)]
    pub(super) denoised: bool,
}

impl LayerPass {
    /// The same layer and view's pass of another name.
    pub(super) fn other(&self, pass: &str, channels: &str) -> Self {
        Self {
            pass: pass.to_owned(),
            channels: channels.to_owned(),
            denoised: false,
            ..self.clone()
        }
    }

    /// Names of its channels in files, as Blender names them.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let view = self.view.as_ref().map(|view| format!(".{view}"));
        let before = format!("{}.{}{}", self.layer, self.pass, view.unwrap_or_default());
        self.channels
            .chars()
            .map(move |component| format!("{before}.{component}"))
    }
}

/// Planes of further passes, after so many others.
pub(super) fn further_planes(passes: &[LayerPass], after: usize) -> Vec<Plane> {
    let names: Vec<String> = passes.iter().flat_map(LayerPass::names).collect();
    let planes = names.chunks(4).enumerate();
    planes
        .map(|(number, channels)| plane(after + number, channels))
        .collect()
}

/// The plane that comes after so many others.
fn plane(before: usize, channels: &[String]) -> Plane {
    Plane {
        pass: match before {
            0 => Pass::Combined,
            count => Pass::Plane(u16::try_from(count - 1).unwrap_or(u16::MAX)),
        },
        channels: channels.to_vec(),
    }
}

/// Deals channels out to planes: the first pass is [`Pass::Combined`], the others stand four by four in the order given.
/// Gives too how many planes have all of the first `needed` passes.
pub(super) fn planes(passes: &[LayerPass], needed: usize) -> (Vec<Plane>, usize) {
    let mut planes = Vec::new();
    let mut planes_needed = 0;
    let needed = needed.clamp(1, passes.len().max(1));
    let parts = [passes.get(..1), passes.get(1..needed), passes.get(needed..)];
    for (number, part) in parts.into_iter().flatten().enumerate() {
        let names: Vec<String> = part.iter().flat_map(LayerPass::names).collect();
        for channels in names.chunks(4) {
            planes.push(plane(planes.len(), channels));
        }
        if number < 2 {
            planes_needed = planes.len();
        }
    }
    (planes, planes_needed)
}

/// An assembled frame with the names of its channels.
pub(super) struct NamedFrame<'a> {
    pub(super) frame: &'a RenderedRect,
    planes: &'a [Plane],
}

impl<'a> NamedFrame<'a> {
    pub(super) fn new(frame: &'a RenderedRect, planes: &'a [Plane]) -> Self {
        Self { frame, planes }
    }

    /// The values of a channel, rows from the top; none if the frame lacks it.
    pub(super) fn channel(&self, name: &str) -> Option<Vec<f32>> {
        let at = |plane: &Plane| plane.channels.iter().position(|channel| channel == name);
        let (pass, index) = self
            .planes
            .iter()
            .find_map(|plane| at(plane).map(|index| (plane.pass, index)))?;
        let (_, pixels) = self.frame.planes.iter().find(|(found, _)| *found == pass)?;
        Some(pixels.iter().map(|pixel| pixel[index]).collect())
    }

    /// The channels of a pass; none if the frame lacks one.
    pub(super) fn channels(&self, pass: &LayerPass) -> Option<Vec<Vec<f32>>> {
        pass.names().map(|name| self.channel(&name)).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn pass(layer: &str, pass: &str, channels: &str) -> LayerPass {
        LayerPass {
            layer: layer.into(),
            pass: pass.into(),
            view: None,
            channels: channels.into(),
            denoised: false,
        }
    }

    #[test]
    fn planes_have_all_channels_and_the_needed_ones_first() {
        let passes = [
            pass("A", "Combined", "RGBA"),
            pass("A", "Depth", "Z"),
            pass("A", "Normal", "XYZ"),
            pass("B", "Combined", "RGBA"),
            pass("B", "Mist", "Z"),
        ];
        let (planes, needed) = planes(&passes, 2);
        let names: Vec<String> = planes
            .iter()
            .map(|plane| plane.channels.join(" "))
            .collect();
        assert_eq!(
            names,
            [
                "A.Combined.R A.Combined.G A.Combined.B A.Combined.A",
                "A.Depth.Z",
                "A.Normal.X A.Normal.Y A.Normal.Z B.Combined.R",
                "B.Combined.G B.Combined.B B.Combined.A B.Mist.Z"
            ]
        );
        assert_eq!(needed, 2);
        let passes: Vec<Pass> = planes.iter().map(|plane| plane.pass).collect();
        assert_eq!(
            passes,
            [
                Pass::Combined,
                Pass::Plane(0),
                Pass::Plane(1),
                Pass::Plane(2)
            ]
        );
    }

    #[test]
    fn views_stand_before_the_component() {
        let view = LayerPass {
            view: Some("left".into()),
            ..pass("A", "Combined", "RG")
        };
        let names: Vec<String> = view.names().collect();
        assert_eq!(names, ["A.Combined.left.R", "A.Combined.left.G"]);
    }
}
