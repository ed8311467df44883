//! The block `DNA1`: names, types and layouts of the structs whose memory images a file consists of.

use crate::BlendError;
use std::collections::HashMap;

/// Bytes of an address in the files that are read.
pub(crate) const POINTER_BYTES: usize = 8;
/// Numbers of structs or dimensions that multiply to more are nonsense.
const FIELD_BYTES_MAX: usize = 1 << 20;

/// All structs of a file.
#[derive(Debug, Default)]
pub(crate) struct Dna {
    pub structs: Vec<Struct>,
    by_name: HashMap<String, usize>,
}

/// One struct.
#[derive(Debug)]
pub(crate) struct Struct {
    pub name: String,
    pub bytes: usize,
    pub fields: Vec<Field>,
}

/// One field of a struct.
#[derive(Debug)]
pub(crate) struct Field {
    pub name: String,
    pub type_name: String,
    pub is_pointer: bool,
    pub offset: usize,
    /// Of all elements of an array together.
    pub bytes: usize,
}

impl Dna {
    pub fn structure(&self, name: &str) -> Option<&Struct> {
        self.structs.get(*self.by_name.get(name)?)
    }

    pub fn parse(bytes: &[u8]) -> Result<Dna, BlendError> {
        let mut cursor = Cursor { bytes, at: 0 };
        cursor.expect(b"SDNA")?;
        cursor.expect(b"NAME")?;
        let names = cursor.texts()?;
        cursor.expect(b"TYPE")?;
        let types = cursor.texts()?;
        cursor.expect(b"TLEN")?;
        let lengths = (0..types.len())
            .map(|_| cursor.short().map(usize::from))
            .collect::<Result<Vec<_>, _>>()?;
        cursor.expect(b"STRC")?;
        let count = cursor.count(4)?;
        let mut dna = Dna::default();
        for _ in 0..count {
            let structure = parse_struct(&mut cursor, &names, &types, &lengths)?;
            dna.by_name
                .insert(structure.name.clone(), dna.structs.len());
            dna.structs.push(structure);
        }
        Ok(dna)
    }
}

fn parse_struct(
    cursor: &mut Cursor<'_>,
    names: &[String],
    types: &[String],
    lengths: &[usize],
) -> Result<Struct, BlendError> {
    let type_index = usize::from(cursor.short()?);
    let name = types.get(type_index).ok_or_else(nonsense)?.clone();
    let bytes = lengths[type_index];
    let count = usize::from(cursor.short()?);
    let mut fields = Vec::new();
    let mut offset = 0_usize;
    for _ in 0..count {
        let (type_index, name_index) = (usize::from(cursor.short()?), usize::from(cursor.short()?));
        let type_name = types.get(type_index).ok_or_else(nonsense)?;
        let declared = names.get(name_index).ok_or_else(nonsense)?;
        let field = parse_field(declared, type_name, lengths[type_index], offset)?;
        offset += field.bytes;
        fields.push(field);
    }
    match offset > bytes {
        true => Err(nonsense()),
        false => Ok(Struct {
            name,
            bytes,
            fields,
        }),
    }
}

/// `*next`, `(*function)()`, `name[64]` or `matrix[4][4]`.
fn parse_field(
    declared: &str,
    type_name: &str,
    type_bytes: usize,
    offset: usize,
) -> Result<Field, BlendError> {
    let is_pointer = declared.starts_with(['*', '(']);
    let mut parts = declared.split('[');
    let name = parts.next().unwrap_or_default();
    let name = name.trim_matches(['*', '(', ')']);
    let mut bytes = if is_pointer {
        POINTER_BYTES
    } else {
        type_bytes
    };
    for dimension in parts {
        let elements: usize = dimension
            .trim_end_matches(']')
            .parse()
            .map_err(|_| nonsense())?;
        bytes = bytes
            .checked_mul(elements)
            .filter(|bytes| *bytes <= FIELD_BYTES_MAX)
            .ok_or_else(nonsense)?;
    }
    Ok(Field {
        name: name.into(),
        type_name: type_name.into(),
        is_pointer,
        offset,
        bytes,
    })
}

fn nonsense() -> BlendError {
    BlendError::damaged("its description of structs makes no sense")
}

/// Reads forwards, and never beyond the end.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], BlendError> {
        let end = self.at.checked_add(length).ok_or_else(nonsense)?;
        let taken = self.bytes.get(self.at..end).ok_or_else(nonsense)?;
        self.at = end;
        Ok(taken)
    }

    /// A tag; tags begin at multiples of four.
    fn expect(&mut self, tag: &[u8; 4]) -> Result<(), BlendError> {
        self.at = self.at.next_multiple_of(4);
        match self.take(4)? == tag {
            true => Ok(()),
            false => Err(nonsense()),
        }
    }

    fn short(&mut self) -> Result<u16, BlendError> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    /// A number of things that take at least so many bytes each.
    fn count(&mut self, bytes_each: usize) -> Result<usize, BlendError> {
        let bytes = self.take(4)?;
        let count = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        match count > (self.bytes.len() - self.at) / bytes_each {
            true => Err(nonsense()),
            false => Ok(count),
        }
    }

    /// A number, and so many texts that end with a zero.
    fn texts(&mut self) -> Result<Vec<String>, BlendError> {
        (0..self.count(1)?)
            .map(|_| {
                let rest = &self.bytes[self.at..];
                let length = rest.iter().position(|b| *b == 0).ok_or_else(nonsense)?;
                let text = self.take(length + 1)?;
                Ok(String::from_utf8_lossy(&text[..length]).into_owned())
            })
            .collect()
    }
}
