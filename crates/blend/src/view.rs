//! One struct of a file, asked by the names of its fields.

use crate::{
    BlendError,
    blocks::{Blend, Place},
    dna::{Field, POINTER_BYTES, Struct},
};

/// A struct in a file.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    blend: &'a Blend,
    datablock: u32,
    structure: &'a Struct,
    bytes: &'a [u8],
    /// Where the first of them lies in the unpacked file.
    at: u64,
}

impl<'a> View<'a> {
    /// The bytes are as many as the struct has.
    pub fn new(
        blend: &'a Blend,
        datablock: u32,
        structure: &'a Struct,
        bytes: &'a [u8],
        at: u64,
    ) -> Self {
        Self {
            blend,
            datablock,
            structure,
            bytes,
            at,
        }
    }

    pub fn struct_name(&self) -> &'a str {
        self.blend.dna().struct_name(self.structure)
    }

    /// Which datablock it is, or is part of.
    pub fn datablock(&self) -> u32 {
        self.datablock
    }

    /// A field by its path, such as `r.im_format.imtype`.
    fn field(&self, path: &str) -> Option<(&'a Field, &'a [u8])> {
        let (field, bytes, _) = self.locate(path)?;
        Some((field, bytes))
    }

    /// A field, and where it lies in the unpacked file.
    fn locate(&self, path: &str) -> Option<(&'a Field, &'a [u8], u64)> {
        let (name, rest) = match path.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        let dna = self.blend.dna();
        let field = dna.field(self.structure, name)?;
        let bytes = self.bytes.get(field.offset..field.offset + field.bytes)?;
        let at = self.at.saturating_add(field.offset as u64);
        let Some(rest) = rest else {
            return Some((field, bytes, at));
        };
        let structure = dna.struct_of(field)?;
        let bytes = bytes.get(..structure.bytes)?;
        View::new(self.blend, self.datablock, structure, bytes, at).locate(rest)
    }

    /// Does this version's struct have such a field?
    pub fn has_field(&self, path: &str) -> bool {
        self.field(path).is_some()
    }

    /// A whole number of any width; of an array the first.
    pub fn integer(&self, path: &str) -> Option<i64> {
        let (field, bytes) = self.field(path).filter(|(field, _)| !field.is_pointer)?;
        Some(match self.blend.dna().type_name(field) {
            "char" | "uchar" => i64::from(*bytes.first()?),
            "int8_t" => i64::from(i8::from_le_bytes(first(bytes)?)),
            "short" => i64::from(i16::from_le_bytes(first(bytes)?)),
            "ushort" => i64::from(u16::from_le_bytes(first(bytes)?)),
            "int" => i64::from(i32::from_le_bytes(first(bytes)?)),
            "int64_t" => i64::from_le_bytes(first(bytes)?),
            _ => return None,
        })
    }

    /// A whole number without which the file makes no sense.
    pub fn required(&self, path: &str) -> Result<i32, BlendError> {
        let value = self.integer(path).and_then(|v| i32::try_from(v).ok());
        value.ok_or_else(|| self.lacks(path))
    }

    pub fn lacks(&self, path: &str) -> BlendError {
        BlendError::damaged(format!("{} has no {path}", self.struct_name()))
    }

    /// Are any of these bits set?
    pub fn has(&self, path: &str, bits: i64) -> bool {
        self.integer(path).is_some_and(|value| value & bits != 0)
    }

    pub fn float(&self, path: &str) -> Option<f64> {
        let (field, bytes) = self.field(path).filter(|(field, _)| !field.is_pointer)?;
        match self.blend.dna().type_name(field) {
            "float" => Some(f64::from(f32::from_le_bytes(first(bytes)?))),
            "double" => Some(f64::from_le_bytes(first(bytes)?)),
            _ => None,
        }
    }

    /// The characters before the first zero, of the field itself or of what it points to.
    pub fn text(&self, path: &str) -> Option<String> {
        Some(self.text_and_place(path)?.0)
    }

    /// A text, and where it stands in the file.
    pub fn text_and_place(&self, path: &str) -> Option<(String, Place)> {
        let (field, bytes, at) = self.locate(path)?;
        if self.blend.dna().type_name(field) != "char" {
            return None;
        }
        let (bytes, place) = match field.is_pointer {
            true => self.blend.text_at(self.datablock, self.pointer(path)?)?,
            false => {
                let bytes_max = bytes.len();
                let place = Place::Field {
                    at,
                    bytes: bytes_max,
                };
                (bytes, place)
            }
        };
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
        Some((text, place))
    }

    /// The structs of the array that a pointer points to.
    pub fn array(&self, path: &str) -> Vec<View<'a>> {
        let address = self.pointer(path);
        address.map_or_else(Vec::new, |address| {
            self.blend.array_at(self.datablock, address)
        })
    }

    /// The address in a pointer; none for null.
    pub fn pointer(&self, path: &str) -> Option<u64> {
        let (field, bytes) = self.field(path)?;
        let address = u64::from_le_bytes(first(bytes)?);
        (field.is_pointer && address != 0 && bytes.len() >= POINTER_BYTES).then_some(address)
    }

    /// What a pointer points to, where that was kept.
    pub fn follow(&self, path: &str) -> Option<View<'a>> {
        self.blend.at(self.datablock, self.pointer(path)?)
    }

    /// The elements of a `ListBase`.
    pub fn list(&self, path: &str) -> impl Iterator<Item = View<'a>> + use<'a> {
        let (blend, first) = (self.blend, self.follow(&format!("{path}.first")));
        std::iter::successors(first, |item| item.next())
            .enumerate()
            .take_while(|(index, _)| blend.count_list_item(*index))
            .map(|(_, item)| item)
    }

    /// The next element of the list that this struct is in. Modifiers and the like begin with what links them.
    fn next(&self) -> Option<View<'a>> {
        self.follow("next").or_else(|| self.follow("modifier.next"))
    }

    /// The name of a datablock, without the two letters of its kind.
    pub fn id_name(&self) -> Option<String> {
        Some(self.full_name()?.chars().skip(2).collect())
    }

    /// The name of a datablock with the two letters of its kind.
    pub fn full_name(&self) -> Option<String> {
        match self.struct_name() {
            "ID" => self.text("name"),
            _ => self.text("id.name"),
        }
    }

    /// The library that a datablock is linked from.
    pub fn library(&self) -> Option<View<'a>> {
        match self.struct_name() {
            "ID" => self.follow("lib"),
            _ => self.follow("id.lib"),
        }
    }

    /// Is this datablock another file's?
    pub fn is_linked(&self) -> bool {
        self.pointer("id.lib").is_some()
    }
}

fn first<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.first_chunk().copied()
}
