//! The block `DNA1`: names, types and layouts of the structs whose memory images a file consists of.

use crate::BlendError;
use std::collections::HashMap;

/// Bytes of an address in the files that are read.
pub(crate) const POINTER_BYTES: usize = 8;
/// Pointers of every datablock that lead to nothing that it needs.
const ID_NEIGHBOURS: [&str; 5] = ["next", "prev", "newid", "orig_id", "lib"];
/// Dimensions that multiply to more are nonsense.
const FIELD_BYTES_MAX: usize = 1 << 20;
/// How deep structs lie in structs.
const DEPTH_MAX: u32 = 16;

/// All structs of a file. Texts are kept once, so that a small file cannot ask for much memory.
#[derive(Debug, Default)]
pub(crate) struct Dna {
    declared: Vec<Declared>,
    types: Vec<Type>,
    types_by_name: HashMap<String, usize>,
    pub structs: Vec<Struct>,
}

/// What stands before a semicolon in C: `*next`, `(*function)()`, `name[64]` or `matrix[4][4]`.
#[derive(Debug)]
struct Declared {
    name: String,
    is_pointer: bool,
    elements: usize,
}

#[derive(Debug)]
struct Type {
    name: String,
    bytes: usize,
    /// Which struct it is, where it is one.
    struct_index: Option<usize>,
}

/// One struct.
#[derive(Debug)]
pub(crate) struct Struct {
    type_index: usize,
    pub bytes: usize,
    pub fields: Vec<Field>,
}

/// One field of a struct; those without bytes are left out.
#[derive(Debug)]
pub(crate) struct Field {
    declared_index: usize,
    type_index: usize,
    pub is_pointer: bool,
    pub offset: usize,
    /// Of all elements of an array together.
    pub bytes: usize,
}

impl Dna {
    pub fn structure(&self, name: &str) -> Option<&Struct> {
        self.struct_of_type(*self.types_by_name.get(name)?)
    }

    /// The struct that a field consists of.
    pub fn struct_of(&self, field: &Field) -> Option<&Struct> {
        self.struct_of_type(field.type_index)
            .filter(|_| !field.is_pointer)
    }

    fn struct_of_type(&self, type_index: usize) -> Option<&Struct> {
        self.structs.get(self.types.get(type_index)?.struct_index?)
    }

    pub fn struct_name(&self, structure: &Struct) -> &str {
        &self.types[structure.type_index].name
    }

    pub fn type_name(&self, field: &Field) -> &str {
        &self.types[field.type_index].name
    }

    pub fn field<'a>(&self, structure: &'a Struct, name: &str) -> Option<&'a Field> {
        let has_name = |field: &&Field| self.declared[field.declared_index].name == name;
        structure.fields.iter().find(has_name)
    }

    /// Where a struct has pointers, in the structs that it contains too. Those that link a datablock with others of its
    /// kind, or with copies of it, lead to nothing that it needs and are left out.
    pub fn pointer_offsets(&self, structure: &Struct) -> Vec<usize> {
        let mut offsets = Vec::new();
        self.add_pointers(structure, 0, DEPTH_MAX, &mut offsets);
        offsets
    }

    fn add_pointers(&self, structure: &Struct, at: usize, depth: u32, offsets: &mut Vec<usize>) {
        let is_id = self.struct_name(structure) == "ID";
        for field in &structure.fields {
            let name = self.declared[field.declared_index].name.as_str();
            let at = at + field.offset;
            if field.is_pointer {
                if !is_id || !ID_NEIGHBOURS.contains(&name) {
                    offsets.extend((at..at + field.bytes).step_by(POINTER_BYTES));
                }
            } else if let Some(inner) = self.struct_of(field)
                && depth > 0
                && inner.bytes > 0
            {
                for at in (at..at + field.bytes).step_by(inner.bytes) {
                    self.add_pointers(inner, at, depth - 1, offsets);
                }
            }
        }
    }

    pub fn parse(bytes: &[u8]) -> Result<Dna, BlendError> {
        let mut cursor = Cursor { bytes, at: 0 };
        cursor.expect(b"SDNA")?;
        cursor.expect(b"NAME")?;
        let names = cursor.texts()?;
        let declared = names.iter().map(|text| declared(text));
        let declared = declared.collect::<Result<Vec<_>, _>>()?;
        cursor.expect(b"TYPE")?;
        let names = cursor.texts()?;
        cursor.expect(b"TLEN")?;
        let mut dna = Dna {
            declared,
            ..Dna::default()
        };
        for name in names {
            dna.types_by_name.insert(name.clone(), dna.types.len());
            dna.types.push(Type {
                name,
                bytes: usize::from(cursor.short()?),
                struct_index: None,
            });
        }
        cursor.expect(b"STRC")?;
        for _ in 0..cursor.count(4)? {
            let structure = dna.parse_struct(&mut cursor)?;
            dna.types[structure.type_index].struct_index = Some(dna.structs.len());
            dna.structs.push(structure);
        }
        Ok(dna)
    }

    fn parse_struct(&self, cursor: &mut Cursor<'_>) -> Result<Struct, BlendError> {
        let type_index = usize::from(cursor.short()?);
        let bytes = self.types.get(type_index).ok_or_else(nonsense)?.bytes;
        let count = usize::from(cursor.short()?);
        let (mut fields, mut offset) = (Vec::new(), 0);
        for _ in 0..count {
            let type_index = usize::from(cursor.short()?);
            let declared_index = usize::from(cursor.short()?);
            let of_type = self.types.get(type_index).ok_or_else(nonsense)?;
            let declared = self.declared.get(declared_index).ok_or_else(nonsense)?;
            let bytes_each = match declared.is_pointer {
                true => POINTER_BYTES,
                false => of_type.bytes,
            };
            let field = Field {
                declared_index,
                type_index,
                is_pointer: declared.is_pointer,
                offset,
                bytes: bytes_each.saturating_mul(declared.elements),
            };
            offset = offset.saturating_add(field.bytes);
            if field.bytes > 0 {
                fields.push(field);
            }
        }
        match offset > bytes {
            true => Err(nonsense()),
            false => Ok(Struct {
                type_index,
                bytes,
                fields,
            }),
        }
    }
}

fn declared(text: &str) -> Result<Declared, BlendError> {
    let mut parts = text.split('[');
    let name = parts.next().unwrap_or_default();
    let mut elements = 1_usize;
    for dimension in parts {
        let number = dimension.trim_end_matches(']').parse();
        elements = elements.saturating_mul(number.map_err(|_| nonsense())?);
    }
    match elements > FIELD_BYTES_MAX {
        true => Err(nonsense()),
        false => Ok(Declared {
            name: name.trim_matches(['*', '(', ')']).into(),
            is_pointer: text.starts_with(['*', '(']),
            elements,
        }),
    }
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
