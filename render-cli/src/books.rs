//! A job's state with its journal.

use crate::{delivery::Arriving, journal::Journal};
use farm::{
    Farm,
    event::{Effect, Event, Millis},
    journal::entry,
};
use protocol::Blake3Hash;
use std::time::Instant;

/// The coordinator with its journal: nothing that it decides leaves the process before the event is on disk.
pub struct Books {
    /// The state of the job.
    pub farm: Farm,
    /// Its journal.
    pub journal: Journal,
    /// When the job's clock stood at zero.
    begun: Instant,
    /// Time on the job's clock when this process took over.
    offset: Millis,
    /// Blobs that no tile needs and that the journal's tail still names.
    unneeded: Vec<Blake3Hash>,
    /// Those that it no longer names.
    unnamed: Vec<Blake3Hash>,
}

impl Books {
    /// The books of a job that begins or goes on now.
    pub fn new(farm: Farm, journal: Journal, unneeded: Vec<Blake3Hash>) -> Self {
        Self {
            offset: farm.now(),
            farm,
            journal,
            begun: Instant::now(),
            unneeded,
            unnamed: Vec::new(),
        }
    }

    /// Takes note of events and gives what is to be done, once they are on disk.
    pub async fn enter(&mut self, events: Vec<Event>) -> Result<Vec<Effect>, String> {
        let mut entries = Vec::with_capacity(events.len());
        let mut effects = Vec::new();
        let mut is_over = false;
        let pixels = events
            .iter()
            .map(|event| pixel_bytes(event, &self.farm))
            .sum();
        for event in events {
            let now = self.offset + self.begun.elapsed().as_millis() as u64;
            entries.push(entry(now, &event).map_err(|e| e.to_string())?);
            for effect in self.farm.handle(now, event) {
                match effect {
                    Effect::Forget { root } => self.unneeded.push(root),
                    other => {
                        is_over |= matches!(other, Effect::Finished { .. });
                        effects.push(other);
                    }
                }
            }
        }
        let checkpoint = match is_over || self.journal.wants_checkpoint() {
            true => Some(self.farm.checkpoint().map_err(|e| e.to_string())?),
            false => None,
        };
        let is_checkpoint = checkpoint.is_some();
        self.journal.append(entries, pixels, checkpoint).await?;
        if is_checkpoint {
            self.unnamed.append(&mut self.unneeded);
        }
        Ok(effects)
    }

    /// Blobs that may be deleted now: equal pixels share one, so that one may be needed again, or be on its way. The
    /// journal's tail will name the latter, which therefore wait for another checkpoint.
    pub fn take_unneeded(&mut self, arriving: &Arriving) -> Vec<Blake3Hash> {
        let mut unneeded = std::mem::take(&mut self.unnamed);
        unneeded.retain(|root| !self.farm.needs_blob(root));
        let (arriving, gone) = unneeded.into_iter().partition(|root| arriving.has(root));
        self.unneeded.extend::<Vec<Blake3Hash>>(arriving);
        gone
    }
}

/// Bytes of pixels that lie on disk for an event.
fn pixel_bytes(event: &Event, farm: &Farm) -> u64 {
    match event {
        Event::Delivered {
            task, cells: Ok(_), ..
        } => {
            let spec = farm.spec_of(*task);
            spec.map_or(0, |spec| spec.delivery_bytes(&farm.config().job))
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use farm::FarmConfig;
    use protocol::{EngineKind, JobId, JobSpec, Pass, RenderSettings, Size, TileGrid};
    use verifier::ProbeShape;

    fn farm() -> Farm {
        let size = Size {
            width: 64,
            height: 64,
        };
        let settings = RenderSettings {
            size,
            samples: 1,
            seed: 0,
            passes: vec![Pass::Combined],
            guard_px: 0,
            scene: None,
        };
        Farm::new(FarmConfig {
            job: JobSpec {
                id: JobId([1; 16]),
                manifest: Blake3Hash([2; 32]),
                manifest_bytes: 1,
                engine: EngineKind::Tracer,
                blender: None,
                settings,
            },
            frames: vec![1],
            grid: TileGrid::new(size, 0),
            secret: [3; 32],
            budget: None,
            deadline: None,
            price_megasample_max: None,
            probes: ProbeShape::Pixels,
            paranoid: false,
            mixed_classes: false,
            providers_wait_ms: 1,
        })
        .unwrap()
    }

    #[tokio::test]
    async fn a_blob_goes_after_the_checkpoint_unless_it_is_on_its_way_again() {
        let folder = tempfile::tempdir().unwrap();
        let farm = farm();
        let checkpoint = farm.checkpoint().unwrap();
        let journal = Journal::create(&folder.path().join("journal.redb"), &checkpoint).unwrap();
        let [once, twice] = [Blake3Hash([4; 32]), Blake3Hash([5; 32])];
        let mut books = Books::new(farm, journal, vec![once, twice]);
        let arriving = Arriving::default();
        arriving.enter(twice);
        books.enter(vec![Event::Tick]).await.unwrap();
        assert!(books.take_unneeded(&arriving).is_empty());
        // The end of a job brings a checkpoint.
        books.enter(vec![Event::Stop]).await.unwrap();
        assert_eq!(books.take_unneeded(&arriving), [once]);
        arriving.leave(twice);
        // Its delivery may stand in the tail now.
        assert!(books.take_unneeded(&arriving).is_empty());
        let resumed = Event::Resumed {
            budget: None,
            deadline: None,
            again: Vec::new(),
        };
        books.enter(vec![resumed, Event::Stop]).await.unwrap();
        assert_eq!(books.take_unneeded(&arriving), [twice]);
        assert!(books.take_unneeded(&arriving).is_empty());
    }
}
