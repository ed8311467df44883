//! Custom properties of a datablock, where render engines such as Cycles keep their settings.

use crate::view::View;

/// Kinds of values, as Blender numbers them.
const INTEGER: i64 = 1;
const FLOAT: i64 = 2;
const GROUP: i64 = 6;
const DOUBLE: i64 = 8;
const BOOLEAN: i64 = 10;

/// A group of settings of one owner, such as `cycles` of a scene.
///
/// Settings that were never changed are not in the file.
#[derive(Clone, Copy)]
pub(crate) struct Group<'a>(View<'a>);

impl<'a> Group<'a> {
    /// The owner's group of this name. From 5.0 on settings of engines are apart from the properties that users make.
    pub fn of(owner: &View<'a>, fields: [&str; 2], name: &str) -> Option<Self> {
        fields.iter().find_map(|field| {
            let all = owner.follow(field)?;
            Group(all).find(name, GROUP).map(Group)
        })
    }

    fn find(&self, name: &str, kind: i64) -> Option<View<'a>> {
        let is_it = |item: &View<'a>| {
            item.integer("type") == Some(kind) && item.text("name").as_deref() == Some(name)
        };
        self.0.list("data.group").find(is_it)
    }

    pub fn integer(&self, name: &str) -> Option<i64> {
        self.find(name, INTEGER)?.integer("data.val")
    }

    pub fn boolean(&self, name: &str) -> Option<bool> {
        let item = self
            .find(name, BOOLEAN)
            .or_else(|| self.find(name, INTEGER))?;
        Some(item.integer("data.val")? & 0xff != 0)
    }

    pub fn float(&self, name: &str) -> Option<f64> {
        if let Some(item) = self.find(name, FLOAT) {
            let bits = item.integer("data.val")? as i32 as u32;
            return Some(f64::from(f32::from_bits(bits)));
        }
        let item = self.find(name, DOUBLE)?;
        let low = item.integer("data.val")? as i32 as u32;
        let high = item.integer("data.val2")? as i32 as u32;
        Some(f64::from_bits(u64::from(low) | u64::from(high) << 32))
    }
}
