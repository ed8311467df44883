//! Bytes of a scene: the `.glb` container or `.gltf` text, and the buffers that it refers to by data URI or by a
//! plain relative path. Nothing outside the scene's folder is ever opened.

use super::error::{Fault, entry};
use super::limits::{FILE_BYTES_MAX, JSON_BYTES_MAX, JSON_OBJECTS_MAX, NODES_MAX};
use super::schema::Document;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

const GLB_MAGIC: &[u8] = b"glTF";
const GLB_HEADER_BYTES: usize = 12;
const CHUNK_HEADER_BYTES: usize = 8;
const CHUNK_JSON: u32 = u32::from_le_bytes(*b"JSON");
const CHUNK_BINARY: u32 = u32::from_le_bytes(*b"BIN\0");

/// A parsed scene file, before anything that it refers to is read.
pub(super) struct Source {
    pub document: Document,
    folder: PathBuf,
    binary: Option<Vec<u8>>,
    bytes_left: u64,
}

/// Where bytes are that the file refers to.
pub(super) enum Address<'a> {
    /// Inside the text.
    Data(&'a str),
    /// In a file of its own: its path below the scene's folder.
    File(PathBuf),
}

impl Source {
    /// Reads and parses the scene file itself.
    pub fn open(path: &Path) -> Result<Source, Fault> {
        let bytes = read_limited(path, FILE_BYTES_MAX).map_err(|error| match error {
            ReadError::Io(error) => Fault::Read(error),
            ReadError::Large(fault) => fault,
        })?;
        let bytes_left = FILE_BYTES_MAX - bytes.len() as u64;
        let (document, binary) = match bytes.starts_with(GLB_MAGIC) {
            true => split_container(bytes)?,
            false => (parse_text(&bytes)?, None),
        };
        Fault::check("nodes", document.nodes.len() as u64, NODES_MAX as u64)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Source {
            document,
            folder,
            binary,
            bytes_left,
        })
    }

    /// Does a file that the scene refers to exist?
    pub fn has_file(&self, relative: &Path) -> bool {
        self.folder.join(relative).is_file()
    }

    /// The bytes of a file or data URI.
    pub fn bytes(&mut self, address: Address) -> Result<Vec<u8>, Fault> {
        match address {
            Address::Data(uri) => data_uri(uri),
            Address::File(relative) => {
                let missing = || Fault::MissingFiles(vec![relative.display().to_string()]);
                let path = self.folder.join(&relative);
                if !path.is_file() {
                    return Err(missing());
                }
                let bytes = read_limited(&path, self.bytes_left).map_err(|error| match error {
                    ReadError::Io(_) => missing(),
                    ReadError::Large(fault) => fault,
                })?;
                self.bytes_left -= bytes.len() as u64;
                Ok(bytes)
            }
        }
    }

    /// Reads all buffers. One without an address that is not the container's own stays `None`: only extensions
    /// that are not read use such, and whoever needs it gets an error then.
    pub fn buffers(&mut self) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        let declared = std::mem::take(&mut self.document.buffers);
        let mut buffers = Vec::with_capacity(declared.len());
        for (index, buffer) in declared.iter().enumerate() {
            let bytes = match &buffer.uri {
                Some(uri) => Some(self.bytes(Address::parse(uri)?)?),
                None if index == 0 => self.binary.take(),
                None => None,
            };
            let bytes = bytes
                .map(|bytes| cut_to_length(index, bytes, buffer.byte_length))
                .transpose()?;
            buffers.push(bytes);
        }
        self.document.buffers = declared;
        Ok(buffers)
    }
}

/// A buffer may be longer than it says (padding), never shorter.
fn cut_to_length(index: usize, mut bytes: Vec<u8>, expected: u64) -> Result<Vec<u8>, Fault> {
    let present = bytes.len() as u64;
    if present < expected {
        return Err(Fault::Truncated {
            what: format!("buffer {index}"),
            present,
            expected,
        });
    }
    bytes.truncate(expected as usize);
    Ok(bytes)
}

enum ReadError {
    Io(std::io::Error),
    Large(Fault),
}

fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let file = File::open(path).map_err(ReadError::Io)?;
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(ReadError::Io)?;
    Fault::check("bytes in its files", bytes.len() as u64, limit).map_err(ReadError::Large)?;
    Ok(bytes)
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    let word = bytes.get(offset..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*word))
}

/// Splits a `.glb` file into its JSON and its binary chunk.
fn split_container(mut bytes: Vec<u8>) -> Result<(Document, Option<Vec<u8>>), Fault> {
    let truncated = |what: &str, present: usize, expected: u64| Fault::Truncated {
        what: what.to_owned(),
        present: present as u64,
        expected,
    };
    let header = word(&bytes, 4).zip(word(&bytes, 8));
    let (version, length) =
        header.ok_or_else(|| truncated("the header", bytes.len(), GLB_HEADER_BYTES as u64))?;
    if version != 2 {
        return Err(Fault::Version(version.to_string()));
    }
    if bytes.len() < length as usize {
        return Err(truncated("the file", bytes.len(), length.into()));
    }
    bytes.truncate(length as usize);
    let json = chunk(&bytes, GLB_HEADER_BYTES)?
        .filter(|(kind, _)| *kind == CHUNK_JSON)
        .ok_or_else(|| Fault::damaged("its first chunk is not JSON"))?
        .1;
    let document = parse_json(&bytes[json.clone()])?;
    // Chunks begin at multiples of four; one that was not padded is met half way.
    let binary = chunk(&bytes, json.end)?
        .filter(|(kind, _)| *kind == CHUNK_BINARY)
        .map(|(_, range)| {
            bytes.truncate(range.end);
            bytes.drain(..range.start);
            bytes
        });
    Ok((document, binary))
}

/// The kind and place of the chunk at an offset, if there is one.
fn chunk(bytes: &[u8], offset: usize) -> Result<Option<(u32, std::ops::Range<usize>)>, Fault> {
    let Some((length, kind)) = word(bytes, offset).zip(word(bytes, offset + 4)) else {
        return Ok(None);
    };
    let start = offset + CHUNK_HEADER_BYTES;
    let present = bytes.len() - start;
    if present < length as usize {
        return Err(Fault::Damaged(format!(
            "a chunk of {length} bytes has room for {present}"
        )));
    }
    Ok(Some((kind, start..start + length as usize)))
}

fn parse_text(bytes: &[u8]) -> Result<Document, Fault> {
    if bytes.is_empty() {
        return Err(Fault::Truncated {
            what: "the file".to_owned(),
            present: 0,
            expected: 1,
        });
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match text.trim_ascii_start().first() {
        Some(b'{') => parse_json(text),
        _ => Err(Fault::NotGltf),
    }
}

fn parse_json(bytes: &[u8]) -> Result<Document, Fault> {
    Fault::check("bytes of JSON", bytes.len() as u64, JSON_BYTES_MAX as u64)?;
    let objects = bytes.iter().filter(|&&byte| byte == b'{').count();
    Fault::check("JSON objects", objects as u64, JSON_OBJECTS_MAX as u64)?;
    let document: Document =
        serde_json::from_slice(bytes).map_err(|error| match error.is_eof() {
            true => Fault::TruncatedJson(error),
            false => Fault::Json(error),
        })?;
    match document.asset.version.split('.').next() {
        Some("2") => Ok(document),
        Some("") => Err(Fault::damaged("it does not say its glTF version")),
        _ => Err(Fault::Version(
            document.asset.version.chars().take(20).collect(),
        )),
    }
}

impl<'a> Address<'a> {
    /// Tells a data URI from a plain relative path, and refuses everything else.
    pub fn parse(uri: &'a str) -> Result<Address<'a>, Fault> {
        if uri.starts_with("data:") {
            return Ok(Address::Data(uri));
        }
        relative_path(uri)
            .map(Address::File)
            .ok_or_else(|| Fault::Address(uri.chars().take(200).collect()))
    }
}

/// A percent-encoded relative path that stays below its folder on every system.
fn relative_path(uri: &str) -> Option<PathBuf> {
    let decoded = percent_decoded(uri)?;
    let path = decoded.strip_prefix("./").unwrap_or(&decoded);
    let foreign = |c: char| c == ':' || c == '\\' || c.is_control();
    let plain = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let path = PathBuf::from((plain && !path.contains(foreign)).then_some(path)?);
    let inside = path
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    inside.then_some(path)
}

fn percent_decoded(uri: &str) -> Option<Cow<'_, str>> {
    if !uri.contains('%') {
        return Some(Cow::Borrowed(uri));
    }
    let mut bytes = Vec::with_capacity(uri.len());
    let mut rest = uri.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, tail) = rest.split_first_chunk::<2>()?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
        rest = tail;
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn data_uri(uri: &str) -> Result<Vec<u8>, Fault> {
    let (head, data) = uri
        .split_once(',')
        .ok_or_else(|| Fault::damaged("a data URI has no data"))?;
    if !head.ends_with(";base64") {
        return Err(Fault::damaged("a data URI is not in base64"));
    }
    BASE64
        .decode(data)
        .map_err(|error| Fault::Damaged(format!("a data URI is not base64: {error}")))
}

/// The bytes of a buffer view, and its stride.
pub(super) fn view_bytes<'a>(
    document: &Document,
    buffers: &'a [Option<Vec<u8>>],
    index: u32,
) -> Result<(&'a [u8], Option<u64>), Fault> {
    let view = entry(&document.buffer_views, index, "buffer view")?;
    let buffer = entry(buffers, view.buffer, "buffer")?
        .as_ref()
        .ok_or_else(|| Fault::Damaged(format!("buffer {} has no data", view.buffer)))?;
    let end = view.byte_offset.checked_add(view.byte_length);
    let bytes = end
        .filter(|&end| end <= buffer.len() as u64)
        .map(|end| &buffer[view.byte_offset as usize..end as usize])
        .ok_or_else(|| {
            Fault::Damaged(format!(
                "buffer view {index} reaches past the {} bytes of buffer {}",
                buffer.len(),
                view.buffer
            ))
        })?;
    Ok((bytes, view.byte_stride))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_below_the_folder_are_addresses() {
        for good in [
            "a.bin",
            "sub/a b.bin",
            "./a.bin",
            "a%20b/%C3%A9.png",
            "..a/b..",
        ] {
            assert!(relative_path(good).is_some(), "{good}");
        }
        assert_eq!(relative_path("a%20b.bin"), Some(PathBuf::from("a b.bin")));
        for bad in [
            "",
            ".",
            "..",
            "../a",
            "a/../b",
            "%2e%2e/a",
            "/etc/passwd",
            "%2fetc",
            "a//b",
            "C:\\a",
            "c:a",
            "a\\b",
            "http://x/y",
            "file:a",
            "a%0",
            "a%zz",
            "%ff",
            "a%00b",
        ] {
            assert!(relative_path(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn data_uris_decode() {
        assert_eq!(
            data_uri("data:application/octet-stream;base64,AQID").unwrap(),
            [1, 2, 3]
        );
        assert!(data_uri("data:;base64,A*").is_err());
        assert!(data_uri("data:text/plain,abc").is_err());
    }
}
