//! Drivers whose expressions only Python can work out: files from strangers may run none, so what they drive stands still.

use crate::{blocks::Blend, expressions, view::View};
use serde::Serialize;
use std::collections::HashSet;

const SCRIPTED: i64 = 1;
const CURVE_MUTED: i64 = 1 << 4;

/// A property that stands still.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct FrozenDriver {
    /// The datablock's name.
    pub owner: String,
    /// The property, as a path from the datablock.
    pub property: String,
    /// What would have to be worked out.
    pub expression: String,
}

/// Those of the file, or of these datablocks alone.
pub(crate) fn frozen(blend: &Blend, wanted: Option<&HashSet<u32>>) -> Vec<FrozenDriver> {
    let is_wanted =
        |view: &View<'_>| wanted.is_none_or(|wanted| wanted.contains(&view.datablock()));
    let animated = blend.of_struct("AnimData").filter(is_wanted);
    let curves = animated.flat_map(|animated| animated.list("drivers"));
    let mut found: Vec<FrozenDriver> = curves
        .filter_map(|curve| frozen_driver(blend, &curve))
        .collect();
    found.sort();
    found.dedup();
    found
}

fn frozen_driver(blend: &Blend, curve: &View<'_>) -> Option<FrozenDriver> {
    let driver = curve.follow("driver")?;
    let is_scripted = driver.integer("type") == Some(SCRIPTED) && !curve.has("flag", CURVE_MUTED);
    let expression = driver.text("expression").filter(|_| is_scripted)?;
    let variables = driver.list("variables");
    let variables: Vec<String> = variables
        .filter_map(|variable| variable.text("name"))
        .collect();
    expressions::need_python(&expression, &variables).then(|| FrozenDriver {
        owner: blend
            .datablock(curve.datablock())
            .and_then(|owner| owner.id_name())
            .unwrap_or_default(),
        property: curve.text("rna_path").unwrap_or_default(),
        expression,
    })
}
