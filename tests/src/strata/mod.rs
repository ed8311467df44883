//! Measures what checks by sample strata and by secret pixels catch, on real tiles, and what they cost.

pub mod edits;
pub mod placement;
pub mod report;
pub mod scheme;
pub mod sums;
pub mod tiles;
pub mod trials;
