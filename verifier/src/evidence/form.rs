//! How evidence is written in JSON: ids, hashes and bytes in hexadecimal, rectangles as `8x8+16+24`.

use protocol::{
    Blake3Hash, BlenderVersion, BundleFile, EngineKind, JobId, JobSpec, Manifest, NodeId, Rect,
    RenderSettings, ids::Signature,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A value that is one text in JSON.
pub trait Written: Sized {
    /// The text.
    fn text(&self) -> String;
    /// Reads it back; none when it is no such value.
    fn read(text: &str) -> Option<Self>;
}

macro_rules! written_as_displayed {
    ($($name:ty),*) => {$(
        impl Written for $name {
            fn text(&self) -> String {
                self.to_string()
            }

            fn read(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )*};
}

written_as_displayed!(JobId, NodeId, Blake3Hash, BlenderVersion);

impl Written for Vec<u8> {
    fn text(&self) -> String {
        hexadecimal(self)
    }

    fn read(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = |pair: &[u8; 2]| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
        match rest.is_empty() {
            true => pairs.iter().map(byte).collect(),
            false => None,
        }
    }
}

impl<const N: usize> Written for [u8; N] {
    fn text(&self) -> String {
        hexadecimal(self)
    }

    fn read(text: &str) -> Option<Self> {
        Vec::read(text)?.try_into().ok()
    }
}

impl Written for Signature {
    fn text(&self) -> String {
        hexadecimal(&self.to_bytes())
    }

    fn read(text: &str) -> Option<Self> {
        <[u8; 64]>::read(text).map(|bytes| Self::from_bytes(&bytes))
    }
}

impl Written for Rect {
    fn text(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(['x', '+']);
        let mut next = || parts.next()?.parse().ok();
        let rect = Self {
            width: next()?,
            height: next()?,
            x: next()?,
            y: next()?,
        };
        // Nothing but the one way to write it.
        (rect.to_string() == text).then_some(rect)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| {
        [
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ]
    };
    bytes.iter().flat_map(digits).map(char::from).collect()
}

fn read<'de, T: Written, D: Deserializer<'de>>(text: &str) -> Result<T, D::Error> {
    let start: String = text.chars().take(80).collect();
    T::read(text).ok_or_else(|| D::Error::custom(format!("`{start}` is not in its form")))
}

/// For `serde(with)`: a value as its text.
pub mod text {
    use super::*;

    pub fn serialize<T: Written, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&value.text())
    }

    pub fn deserialize<'de, T: Written, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        read::<T, D>(&String::deserialize(from)?)
    }
}

/// For `serde(with)`: values as a list of their texts.
pub mod list {
    use super::*;

    pub fn serialize<T: Written, S: Serializer>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(Written::text))
    }

    pub fn deserialize<'de, T: Written, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        texts.iter().map(|text| read::<T, D>(text)).collect()
    }
}

/// For `serde(with)`: a value as its text, or null.
pub mod option {
    use super::*;

    pub fn serialize<T: Written, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().map(Written::text).serialize(to)
    }

    pub fn deserialize<'de, T: Written, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| read::<T, D>(&text)).transpose()
    }
}

/// For `serde(with)`: a job.
#[derive(Serialize, Deserialize)]
#[serde(remote = "JobSpec", deny_unknown_fields)]
pub struct JobForm {
    #[serde(with = "text")]
    id: JobId,
    #[serde(with = "text")]
    manifest: Blake3Hash,
    manifest_bytes: u64,
    engine: EngineKind,
    #[serde(with = "option")]
    blender: Option<BlenderVersion>,
    settings: RenderSettings,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    path: String,
    #[serde(with = "text")]
    hash: Blake3Hash,
    bytes: u64,
}

/// For `serde(with)`: a manifest.
pub mod manifest {
    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct ManifestForm {
        entry: String,
        files: Vec<FileForm>,
    }

    pub fn serialize<S: Serializer>(manifest: &Manifest, to: S) -> Result<S::Ok, S::Error> {
        let file = |file: &BundleFile| FileForm {
            path: file.path.clone(),
            hash: file.hash,
            bytes: file.bytes,
        };
        ManifestForm {
            entry: manifest.entry.clone(),
            files: manifest.files.iter().map(file).collect(),
        }
        .serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Manifest, D::Error> {
        let form = ManifestForm::deserialize(from)?;
        let file = |file: FileForm| BundleFile {
            path: file.path,
            hash: file.hash,
            bytes: file.bytes,
        };
        Ok(Manifest {
            entry: form.entry,
            files: form.files.into_iter().map(file).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_and_other_texts_do_not() {
        let rect = Rect {
            x: 16,
            y: 24,
            width: 8,
            height: 5,
        };
        assert_eq!(rect.text(), "8x5+16+24");
        assert_eq!(Rect::read("8x5+16+24"), Some(rect));
        for text in [
            "",
            "8x5",
            "8x5+16+24+1",
            "8+5x16+24",
            "08x5+16+24",
            "8x5+16+-2",
        ] {
            assert_eq!(Rect::read(text), None, "{text}");
        }
        let bytes = vec![0, 1, 0xab, 0xff];
        assert_eq!(bytes.text(), "0001abff");
        assert_eq!(Vec::read("0001ABff"), Some(bytes));
        for text in ["0", "0g", "é", "+1"] {
            assert_eq!(<Vec<u8>>::read(text), None, "{text}");
        }
        assert_eq!(<[u8; 2]>::read("0102"), Some([1, 2]));
        assert_eq!(<[u8; 2]>::read("010203"), None);
        let signature = Signature::from_bytes(&std::array::from_fn(|i| i as u8));
        assert_eq!(Signature::read(&signature.text()), Some(signature));
    }
}
