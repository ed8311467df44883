//! Typed reading of accessors: strided, sparse, normalised; every bound is checked before anything is read, and
//! every decoded byte is charged to a budget before memory is taken for it.

use super::container::view_bytes;
use super::error::{Fault, entry};
use super::limits::{GEOMETRY_BYTES_MAX, UNBACKED_ELEMENTS_MAX};
use super::schema::{Accessor, Document};
use crate::math;

/// What a component is stored as.
#[derive(Clone, Copy, PartialEq)]
enum Component {
    I8,
    U8,
    I16,
    U16,
    U32,
    F32,
}

impl Component {
    fn parse(code: u32) -> Result<Component, Fault> {
        Ok(match code {
            5120 => Component::I8,
            5121 => Component::U8,
            5122 => Component::I16,
            5123 => Component::U16,
            5125 => Component::U32,
            5126 => Component::F32,
            _ => return Err(Fault::Damaged(format!("{code} is not a component type"))),
        })
    }
}

/// Reads accessors of one file within a common budget of memory.
pub(super) struct Accessors<'a> {
    document: &'a Document,
    buffers: &'a [Option<Vec<u8>>],
    bytes_left: u64,
}

/// Elements in a buffer: the bytes of the first begin at 0, those of the next `stride` later.
struct Block<'a> {
    bytes: &'a [u8],
    stride: usize,
}

impl<'a> Accessors<'a> {
    pub fn new(document: &'a Document, buffers: &'a [Option<Vec<u8>>]) -> Self {
        Self {
            document,
            buffers,
            bytes_left: GEOMETRY_BYTES_MAX,
        }
    }

    /// The bytes of an image that lies in a buffer.
    pub fn image_bytes(&self, view: u32) -> Result<&'a [u8], Fault> {
        Ok(view_bytes(self.document, self.buffers, view)?.0)
    }

    /// Takes from the budget for data that is about to be made.
    pub fn charge(&mut self, bytes: u64) -> Result<(), Fault> {
        let used = GEOMETRY_BYTES_MAX - self.bytes_left;
        Fault::check(
            "bytes of geometry and animation",
            used.saturating_add(bytes),
            GEOMETRY_BYTES_MAX,
        )?;
        self.bytes_left -= bytes;
        Ok(())
    }

    /// Components per element: 3 for VEC3 and so on.
    pub fn width(&self, index: u32) -> Result<usize, Fault> {
        let accessor = entry(&self.document.accessors, index, "accessor")?;
        Ok(match accessor.shape.as_str() {
            "SCALAR" => 1,
            "VEC2" => 2,
            "VEC3" => 3,
            "VEC4" | "MAT2" => 4,
            "MAT3" => 9,
            "MAT4" => 16,
            other => {
                let shape: String = other.chars().take(20).collect();
                return Err(Fault::Damaged(format!("{shape} is not an accessor type")));
            }
        })
    }

    /// Elements of `N` finite floats; integers are converted, and scaled to -1..1 or 0..1 if normalised.
    pub fn floats<const N: usize>(&mut self, index: u32) -> Result<Vec<[f32; N]>, Fault> {
        let accessor = self.accessor::<N>(index)?;
        let scaled = |value: f32, largest: f32| match accessor.normalized {
            true => math::max(value / largest, -1.0),
            false => value,
        };
        let values = match Component::parse(accessor.component_type)? {
            Component::I8 => self.gather(accessor, |b| scaled(i8::from_le_bytes(b).into(), 127.0)),
            Component::U8 => self.gather(accessor, |b| scaled(u8::from_le_bytes(b).into(), 255.0)),
            Component::I16 => {
                self.gather(accessor, |b| scaled(i16::from_le_bytes(b).into(), 32767.0))
            }
            Component::U16 => {
                self.gather(accessor, |b| scaled(u16::from_le_bytes(b).into(), 65535.0))
            }
            Component::U32 => self.gather(accessor, |b| u32::from_le_bytes(b) as f32),
            Component::F32 => self.gather(accessor, f32::from_le_bytes),
        }?;
        match values.as_flattened().iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(Fault::Damaged(format!(
                "accessor {index} holds numbers that are not finite"
            ))),
        }
    }

    /// Vertex indices.
    pub fn indices(&mut self, index: u32) -> Result<Vec<u32>, Fault> {
        let accessor = self.accessor::<1>(index)?;
        let values: Vec<[u32; 1]> = match Component::parse(accessor.component_type)? {
            Component::U8 => self.gather(accessor, |b| u8::from_le_bytes(b).into()),
            Component::U16 => self.gather(accessor, |b| u16::from_le_bytes(b).into()),
            Component::U32 => self.gather(accessor, u32::from_le_bytes),
            _ => Err(Fault::damaged("vertex indices are not unsigned integers")),
        }?;
        Ok(values.into_iter().map(|[value]| value).collect())
    }

    /// Joints of vertices.
    pub fn joints(&mut self, index: u32) -> Result<Vec<[u16; 4]>, Fault> {
        let accessor = self.accessor::<4>(index)?;
        match Component::parse(accessor.component_type)? {
            Component::U8 => self.gather(accessor, |b| u8::from_le_bytes(b).into()),
            Component::U16 => self.gather(accessor, u16::from_le_bytes),
            _ => Err(Fault::damaged("joints are not 8 or 16 bit integers")),
        }
    }

    fn accessor<const N: usize>(&self, index: u32) -> Result<&'a Accessor, Fault> {
        let width = self.width(index)?;
        if width != N {
            return Err(Fault::Damaged(format!(
                "accessor {index} has {width} components where {N} are needed"
            )));
        }
        entry(&self.document.accessors, index, "accessor")
    }

    /// Reads all elements; `convert` reads one component of `SIZE` bytes.
    fn gather<const N: usize, const SIZE: usize, T: Copy + Default>(
        &mut self,
        accessor: &Accessor,
        convert: impl Fn([u8; SIZE]) -> T,
    ) -> Result<Vec<[T; N]>, Fault> {
        let bytes = accessor.count.saturating_mul(size_of::<[T; N]>() as u64);
        let read = |block: &Block, place: usize| -> [T; N] {
            let start = place * block.stride;
            let (components, _) = block.bytes[start..start + N * SIZE].as_chunks::<SIZE>();
            std::array::from_fn(|component| convert(components[component]))
        };
        let mut values = match accessor.buffer_view {
            Some(view) => {
                let block = self.block(view, accessor.byte_offset, accessor.count, N * SIZE)?;
                self.charge(bytes)?;
                (0..accessor.count as usize)
                    .map(|place| read(&block, place))
                    .collect()
            }
            None => {
                let limit = UNBACKED_ELEMENTS_MAX;
                Fault::check("elements without data", accessor.count, limit)?;
                self.charge(bytes)?;
                vec![[T::default(); N]; accessor.count as usize]
            }
        };
        if let Some(sparse) = &accessor.sparse {
            let view = sparse.values.buffer_view;
            let block = self.block(view, sparse.values.byte_offset, sparse.count, N * SIZE)?;
            for (source, target) in self.sparse_places(accessor)?.into_iter().enumerate() {
                let value = values
                    .get_mut(target as usize)
                    .ok_or_else(|| Fault::damaged("a sparse accessor writes past its end"))?;
                *value = read(&block, source);
            }
        }
        Ok(values)
    }

    /// Which elements a sparse accessor replaces.
    fn sparse_places(&mut self, accessor: &Accessor) -> Result<Vec<u32>, Fault> {
        let Some(sparse) = &accessor.sparse else {
            return Ok(Vec::new());
        };
        let indices = Accessor {
            buffer_view: Some(sparse.indices.buffer_view),
            byte_offset: sparse.indices.byte_offset,
            component_type: sparse.indices.component_type,
            normalized: false,
            count: sparse.count,
            shape: "SCALAR".to_owned(),
            sparse: None,
        };
        let places: Vec<[u32; 1]> = match Component::parse(indices.component_type)? {
            Component::U8 => self.gather(&indices, |b| u8::from_le_bytes(b).into()),
            Component::U16 => self.gather(&indices, |b| u16::from_le_bytes(b).into()),
            Component::U32 => self.gather(&indices, u32::from_le_bytes),
            _ => Err(Fault::damaged("sparse indices are not unsigned integers")),
        }?;
        Ok(places.into_iter().map(|[place]| place).collect())
    }

    /// The bytes of `count` elements of `size` bytes, all inside their buffer view.
    fn block(&self, view: u32, offset: u64, count: u64, size: usize) -> Result<Block<'a>, Fault> {
        let (bytes, stride) = view_bytes(self.document, self.buffers, view)?;
        let size = size as u64;
        let stride = stride.unwrap_or(size);
        let outside = || {
            Fault::Damaged(format!(
                "{count} elements of {size} bytes, {stride} bytes apart, do not fit into buffer view {view}"
            ))
        };
        if stride < size {
            return Err(outside());
        }
        let length = match count.checked_sub(1) {
            Some(steps) => steps.checked_mul(stride).and_then(|n| n.checked_add(size)),
            None => Some(0),
        };
        let end = length.and_then(|length| offset.checked_add(length));
        end.filter(|&end| end <= bytes.len() as u64)
            .map(|end| Block {
                bytes: &bytes[offset as usize..end as usize],
                stride: stride as usize,
            })
            .ok_or_else(outside)
    }
}
