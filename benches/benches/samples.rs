//! Samples a second of the tracer on scenes of this repository, with all cores.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocol::{Pass, RenderSettings, Size};
use std::path::Path;
use tracer::{gltf::Scene, render::Renderer};

const SIZE: Size = Size {
    width: 160,
    height: 90,
};
const SAMPLES: u32 = 8;
const FRAME: i32 = 1;

fn samples(criterion: &mut Criterion) {
    let settings = RenderSettings {
        size: SIZE,
        samples: SAMPLES,
        seed: 0,
        passes: vec![Pass::Combined],
        guard_px: 0,
        scene: None,
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenes");
    let mut group = criterion.benchmark_group("samples");
    group.throughput(Throughput::Elements(SIZE.area() * u64::from(SAMPLES)));
    for name in ["lighthouse", "reading_room"] {
        let scene = Scene::load(&folder.join(name).with_extension("glb")).expect("a scene");
        let world = scene.world(FRAME, SIZE).expect("a world");
        let renderer = Renderer::new(world, SIZE).expect("a consistent world");
        group.bench_function(name, |bencher| {
            bencher.iter(|| renderer.render(&settings, FRAME, SIZE.rect(), &|| false));
        });
        let rendered = renderer.render(&settings, FRAME, SIZE.rect(), &|| false);
        assert!(rendered.is_ok(), "{name}: {rendered:?}");
    }
    group.finish();
}

criterion_group! {
    name = group;
    config = benches::samples_of(4);
    targets = samples
}
criterion_main!(group);
