//! The ranges that a frame's samples are divided into. Each square of the frame is a tile in each range: rendered, checked
//! and paid as any other. A frame is written once all its tiles are accepted, and goes as a whole when one of them falls, so
//! nothing else of a job knows of ranges.

use crate::{coordinator::Farm, frame::Extent};
use protocol::SampleRange;

impl Farm {
    /// The samples of each pixel that a tile is of; none where they are not divided.
    pub(crate) fn range_of(&self, tile: u32) -> Option<SampleRange> {
        let samples = self.config.job.settings.samples;
        self.config.grid.samples(tile, samples)
    }

    /// Samples a pixel of a tile.
    pub(crate) fn tile_samples(&self, tile: u32) -> u32 {
        self.of_all(self.range_of(tile))
    }

    /// Samples a pixel of a task.
    pub(crate) fn samples_in(&self, extent: &Extent) -> u32 {
        self.of_all(extent.samples)
    }

    fn of_all(&self, range: Option<SampleRange>) -> u32 {
        range.map_or(self.config.job.settings.samples, |range| range.count)
    }
}
