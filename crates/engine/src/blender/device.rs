//! What Cycles renders with: the processor, or one graphics card. A card that cannot be had is an error, never a reason to
//! render on the processor instead.

use crate::EngineError;
use serde::Deserialize;
use std::{fmt, fs, path::PathBuf, str::FromStr};

/// The ways in which Cycles renders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// On the processor.
    #[default]
    Cpu,
    /// On a card of NVIDIA.
    Cuda,
    /// On a card of NVIDIA, with its ray tracing cores.
    Optix,
    /// On a card of AMD.
    Hip,
    /// On a card of Intel.
    OneApi,
    /// On what an Apple computer has.
    Metal,
}

/// All of them, with their names at the prompt and in Cycles.
const BACKENDS: [(Backend, &str, &str); 6] = [
    (Backend::Cpu, "cpu", "CPU"),
    (Backend::Cuda, "cuda", "CUDA"),
    (Backend::Optix, "optix", "OPTIX"),
    (Backend::Hip, "hip", "HIP"),
    (Backend::OneApi, "oneapi", "ONEAPI"),
    (Backend::Metal, "metal", "METAL"),
];

impl Backend {
    fn names(self) -> (&'static str, &'static str) {
        let row = BACKENDS.iter().find(|(backend, ..)| *backend == self);
        row.map_or(("cpu", "CPU"), |(_, prompt, cycles)| (prompt, cycles))
    }
}

/// One device: `cpu`, `cuda`, `cuda:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Device {
    /// How it is used.
    pub backend: Backend,
    /// Which of several cards, in the order of its driver, from 0.
    pub number: u16,
}

impl Device {
    /// Does the processor render?
    pub fn is_cpu(self) -> bool {
        self.backend == Backend::Cpu
    }

    /// The kind of device, by which providers are known: `cpu`, `cuda`.
    pub fn kind(self) -> &'static str {
        self.backend.names().0
    }

    /// How Cycles calls the way it is used: `CPU`, `CUDA`.
    pub(super) fn cycles_name(self) -> &'static str {
        self.backend.names().1
    }

    /// What shows this card, and no other, to a process.
    pub(super) fn environment(self) -> Vec<(&'static str, String)> {
        let number = self.number.to_string();
        match self.backend {
            Backend::Cpu | Backend::Metal => Vec::new(),
            Backend::Cuda | Backend::Optix => vec![
                ("CUDA_DEVICE_ORDER", "PCI_BUS_ID".into()),
                ("CUDA_VISIBLE_DEVICES", number),
            ],
            Backend::Hip => vec![("HIP_VISIBLE_DEVICES", number)],
            Backend::OneApi => vec![("ONEAPI_DEVICE_SELECTOR", format!("level_zero:{number}"))],
        }
    }

    /// Its number among those that its process sees.
    fn number_in_process(self) -> usize {
        match self.environment().is_empty() {
            true => self.number.into(),
            false => 0,
        }
    }

    /// What a confined process needs to reach it, besides the files of the system.
    pub(super) fn files(self) -> Vec<PathBuf> {
        if self.is_cpu() {
            return Vec::new();
        }
        let names = fs::read_dir("/dev").into_iter().flatten().flatten();
        let is_card = |name: &str| name.starts_with("nvidia") || name == "dri" || name == "kfd";
        let cards = names.filter(|entry| entry.file_name().to_str().is_some_and(is_card));
        cards.map(|entry| entry.path()).collect()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_cpu(), self.number) {
            (true, _) | (_, 0) => f.write_str(self.kind()),
            (_, number) => write!(f, "{}:{number}", self.kind()),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, number) = match text.split_once(':') {
            None => (text, Some(0)),
            Some((name, number)) => (name, number.parse().ok()),
        };
        let known = BACKENDS.iter().find(|(_, prompt, _)| *prompt == name);
        let error = || {
            format!(
                "`{text}` is none of cpu, cuda, optix, hip, oneapi, metal, nor one with a number such as cuda:1"
            )
        };
        let (&(backend, ..), number) = known.zip(number).ok_or_else(error)?;
        match backend == Backend::Cpu && text != name {
            true => Err("there is one `cpu`: it takes no number".into()),
            false => Ok(Self { backend, number }),
        }
    }
}

/// A device as Cycles lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ListedDevice {
    /// Its maker's name for it.
    pub name: String,
    /// The way to use it, as Cycles calls it.
    pub backend: String,
    /// Cycles' own id.
    pub id: String,
}

impl fmt::Display for ListedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.backend)
    }
}

/// The listed device that was asked for.
///
/// # Errors
/// [`EngineError::Missing`] names what there is instead.
pub(super) fn choose(
    device: Device,
    listed: &[ListedDevice],
) -> Result<&ListedDevice, EngineError> {
    let wanted = device.cycles_name();
    let mut of_kind = listed.iter().filter(|one| one.backend == wanted);
    of_kind.nth(device.number_in_process()).ok_or_else(|| {
        let there: Vec<String> = listed.iter().map(ToString::to_string).collect();
        EngineError::Missing(format!(
            "Blender sees no device {device} here, only {}; hint: check the card's driver, or choose another --device",
            there.join(", ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(backend: &str, name: &str) -> ListedDevice {
        ListedDevice {
            name: name.into(),
            backend: backend.into(),
            id: format!("{backend}_{name}"),
        }
    }

    fn device(text: &str) -> Device {
        text.parse().unwrap()
    }

    #[test]
    fn devices_are_read_as_they_are_written() {
        for text in [
            "cpu", "cuda", "cuda:3", "optix:1", "hip", "oneapi", "metal:1",
        ] {
            assert_eq!(device(text).to_string(), text);
        }
        assert_eq!(device("cuda:0"), device("cuda"));
        for bad in [
            "",
            "gpu",
            "cuda:",
            "cuda:x",
            "cuda:-1",
            "cuda:99999",
            "cpu:0",
            "CUDA",
        ] {
            assert!(bad.parse::<Device>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_process_is_shown_one_card_only() {
        let both = [
            listed("CPU", "Xeon"),
            listed("CUDA", "A"),
            listed("CUDA", "B"),
        ];
        let shown = [listed("CPU", "Xeon"), listed("CUDA", "B")];
        assert!(
            device("cuda:1")
                .environment()
                .contains(&("CUDA_VISIBLE_DEVICES", "1".into()))
        );
        assert_eq!(choose(device("cuda:1"), &shown).unwrap().name, "B");
        assert_eq!(choose(device("cuda"), &both).unwrap().name, "A");
        // Nothing hides one of Apple's from a process.
        let apple = [listed("METAL", "A"), listed("METAL", "B")];
        assert!(device("metal:1").environment().is_empty());
        assert_eq!(choose(device("metal:1"), &apple).unwrap().name, "B");
    }

    #[test]
    fn a_card_that_is_not_there_is_never_replaced() {
        let there = [listed("CPU", "Xeon"), listed("OPTIX", "A")];
        for text in ["cuda", "metal:1"] {
            let why = choose(device(text), &there).unwrap_err().to_string();
            assert!(
                why.contains(text) && why.contains("Xeon (CPU), A (OPTIX)"),
                "{why}"
            );
            assert_eq!(why.lines().count(), 1);
        }
    }
}
