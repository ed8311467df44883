//! Which checks a tile gets, and in how many parts its probes are dealt out.

use crate::{
    coordinator::Farm,
    frame::{Expected, Extent, Opening, Probe, Task, TileRef},
    limits::{PROBE_COST_SHARE, PROBES_PER_TILE_MAX, SQUARES_PER_PROBE_MIN},
    worker::WorkerNumber,
};
use protocol::{Blake3Hash, Rect, SecretPixels};
use verifier::{ProbeShape, TrustPolicy};

impl Farm {
    /// How much of a worker's tiles is checked.
    pub(crate) fn policy(&self, number: WorkerNumber) -> TrustPolicy {
        let policy = self.worker(number).trust.policy();
        match self.config.paranoid {
            true => policy.paranoid(self.config.probes),
            false => policy,
        }
    }

    /// The squares of a tile, where probes are squares, by its worker and commitment: the same whenever they are drawn.
    pub(crate) fn probe_squares(
        &self,
        tile: u32,
        number: WorkerNumber,
        commitment: &Blake3Hash,
    ) -> Vec<Rect> {
        let core = self.config.grid.core(tile);
        let (secret, shape) = (&self.config.secret, self.config.probes);
        verifier::draw_probes(secret, commitment, &core, shape, &self.policy(number))
    }

    /// The secret pixels of a tile, where probes are pixels: first those that are asked of nobody unless somebody is
    /// caught later, then those of each part.
    pub(crate) fn secret_pixels(
        &self,
        number: WorkerNumber,
        commitment: &Blake3Hash,
        parts: u8,
    ) -> Vec<SecretPixels> {
        match self.config.probes {
            ProbeShape::Pixels => {
                let policy = self.policy(number);
                verifier::draw_pixels(&self.config.secret, commitment, &policy, parts)
            }
            ProbeShape::Squares { .. } => Vec::new(),
        }
    }

    /// The one probe of a finished tile that is taken up again: its squares, or the pixels that nobody was asked for.
    pub(crate) fn later_probe(
        &self,
        tile: u32,
        number: WorkerNumber,
        commitment: &Blake3Hash,
    ) -> Option<Extent> {
        let squares = self.probe_squares(tile, number, commitment);
        let mut pixels = self.secret_pixels(number, commitment, 1).into_iter();
        let pixels = pixels
            .next()
            .map(|pixels| Extent::pixels(self.config.grid.core(tile), pixels));
        let samples = self.range_of(tile);
        pixels.or_else(|| (!squares.is_empty()).then(|| Extent::cells(squares, samples)))
    }

    /// The probes of a delivery, dealt out; of the hashes that came, those of its later probe, and those of what it
    /// shares with its neighbours.
    pub(crate) fn divide_probes<'a>(
        &self,
        at: TileRef,
        task: &Task,
        commitment: &Blake3Hash,
        parts: u8,
        hashes: &'a [Blake3Hash],
    ) -> (Vec<Probe>, &'a [Blake3Hash], &'a [Blake3Hash]) {
        let core = self.config.grid.core(at.tile);
        let mut rest = hashes;
        let mut next = |count: usize| {
            let (first, after) = rest.split_at(count.min(rest.len()));
            rest = after;
            first
        };
        let pixels = self.secret_pixels(task.worker, commitment, parts);
        if let Some((kept, parts)) = pixels.split_first() {
            let later = next(kept.packed_count(&core));
            let probe = |pixels: &SecretPixels| {
                let expected = next(pixels.packed_count(&core));
                Probe::new(
                    Extent::pixels(core, *pixels),
                    Expected::Cells(expected.into()),
                )
            };
            return (parts.iter().map(probe).collect(), later, rest);
        }
        let squares = self.probe_squares(at.tile, task.worker, commitment);
        let answers = next(squares.iter().map(Rect::cell_count).sum());
        let probes = self.divide_squares(task, commitment, &squares, answers);
        (probes, answers, rest)
    }

    /// The squares of a delivery, dealt out. `answers` are their cells in it.
    fn divide_squares(
        &self,
        task: &Task,
        commitment: &Blake3Hash,
        squares: &[Rect],
        answers: &[Blake3Hash],
    ) -> Vec<Probe> {
        if squares.is_empty() {
            return Vec::new();
        }
        let most = squares.len() / SQUARES_PER_PROBE_MIN;
        let parts = self.probe_parts(task.worker, &task.class, most);
        let parts = verifier::split_probes(&self.config.secret, commitment, squares, parts);
        let probe = |part: Vec<Rect>| {
            let cells = verifier::cells::select(squares, answers, &part).unwrap_or_default();
            let extent = Extent::cells(part, task.extent.samples);
            Probe::new(extent, Expected::Cells(cells.into()))
        };
        parts.into_iter().map(probe).collect()
    }

    /// In how many parts the secret pixels of a task that delivers a tile are dealt out.
    pub(crate) fn pixel_parts(&self, task: &Task) -> u8 {
        let is_tile = self.whole_tile(task.purpose).is_some();
        match (self.config.probes, is_tile) {
            (ProbeShape::Pixels, true) => {
                let most = usize::from(self.policy(task.worker).probe_pixels);
                self.probe_parts(task.worker, &task.class, most) as u8
            }
            _ => 1,
        }
    }

    /// The second rendering of a whole tile, if it gets one.
    pub(crate) fn draw_replica(&self, task: &Task, opening: &Opening) -> Option<Probe> {
        let policy = self.policy(task.worker);
        let is_drawn = verifier::draw_replica(&self.config.secret, &opening.commitment, &policy);
        let expected = Expected::Replica(opening.root);
        (is_drawn && self.affords_replica(task)).then(|| Probe::new(task.extent.clone(), expected))
    }

    fn affords_replica(&self, task: &Task) -> bool {
        let others = self
            .ready_in(&task.class)
            .filter(|number| *number != task.worker);
        let samples = self.samples_in(&task.extent);
        others.take(1).any(|number| {
            let price = self.worker(number).price(task.pixels, samples);
            price.is_some_and(|price| self.ledger.affords(price))
        })
    }

    /// In how many parts a tile's probes are dealt out, of so many at most: fewer where there are few workers, and where to
    /// turn to a task costs them much.
    fn probe_parts(&self, number: WorkerNumber, class: &Blake3Hash, most: usize) -> usize {
        let worker = self.worker(number);
        let ready = self.ready.get(class).map_or(0, |ready| ready.len());
        let others = ready.saturating_sub(1);
        let overhead = u64::from(worker.overhead_ms.unwrap_or(0)).max(1);
        let by_cost = self.tile_ms(worker) / PROBE_COST_SHARE / overhead;
        let by_cost = usize::try_from(by_cost).unwrap_or(usize::MAX);
        let by_crowd = PROBES_PER_TILE_MAX.min(others).min(by_cost);
        most.min(by_crowd).max(1)
    }
}
