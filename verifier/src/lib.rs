//! Pure verdicts on rendered tiles: commitments, overlaps, probes, arbitration and the trust table.
//!
//! Every pixel of a path tracer is a pure function of scene, frame, position, seed and samples, so checking needs no
//! second render of everything: a worker commits to a tile's hash first, then secret cells inside the tile, drawn from
//! the commitment, are rendered by somebody else and compared by hash.
//!
//! Nothing here does I/O, reads a clock or draws random numbers: seeds come in as arguments. The same inputs give the
//! same verdict on every machine, so a verdict's evidence can be checked by anybody.
//!
//! What it cannot see: with secret pixels, an edit of a few pixels of a cell that none of them hits; with squares, a
//! defaced cell that no square hits and no neighbour shares.

pub mod arbitration;
pub mod cells;
pub mod commitment;
pub mod draw;
pub mod evidence;
pub mod noise;
pub mod overlap;
pub mod probes;
pub mod record;
pub mod regions;
pub mod trust;

pub use arbitration::{Claim, Verdict, arbitrate};
pub use cells::{CellMismatch, CountError, check_count, digest, mismatches};
pub use commitment::{commitment, commitment_statement, verify_signature};
pub use evidence::{Bundle, EvidenceError, Flaw, Ruling, Statement, Testimony};
pub use noise::NoiseVerdict;
pub use overlap::Overlap;
pub use probes::{
    ProbeShape, draw_pixels, draw_probes, draw_replica, probe_pixels_max, split_probes,
    squares_thousandths,
};
pub use record::{FaultKind, PastFault, Record, Standing};
pub use regions::{data_agrees, draw_regions, has_regions};
pub use trust::{Trust, TrustPolicy};
