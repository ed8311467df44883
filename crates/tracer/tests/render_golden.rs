//! The same bits always: pinned hashes, and equal pixels for every tile and thread count.
//!
//! The hashes change only when the renderer's algorithm does; `cargo run -p tracer --example golden` prints the
//! new ones.

mod worlds;

use protocol::{Pass, Rect, RenderedRect, TileGrid, pixels::task_bytes};
use tracer::{render::Renderer, world::World};

const GOLDEN: [(&str, &str); 3] = [
    (
        "box",
        "26e14705f70aeae96bda360213be544e18b60bbbbb3df6756a22458e1393e3e6",
    ),
    (
        "lights",
        "352bfe55e1510907353019f73f8fffda70b3782b15fff9342f685a0e9ff14b61",
    ),
    (
        "sky",
        "556242b65534e66ca41192b2311d93be1e524c500433e38ec648e381922dcf00",
    ),
];

fn prepare(world: World) -> Renderer {
    Renderer::new(world, worlds::GOLDEN_SIZE).unwrap()
}

fn render(renderer: &Renderer, rect: Rect) -> RenderedRect {
    let settings = worlds::settings(worlds::GOLDEN_SIZE, worlds::GOLDEN_SAMPLES);
    renderer
        .render(&settings, worlds::GOLDEN_FRAME, rect, &|| false)
        .unwrap()
}

fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(work)
}

/// The whole frame, put together from rectangles.
fn assemble(renderer: &Renderer, rects: impl Iterator<Item = Rect>) -> RenderedRect {
    let size = worlds::GOLDEN_SIZE;
    let mut whole = RenderedRect {
        rect: size.rect(),
        planes: Pass::ALL
            .map(|pass| (pass, vec![[f32::NAN; 4]; size.area() as usize]))
            .to_vec(),
    };
    for rect in rects {
        let part = render(renderer, rect);
        for ((_, target), (_, source)) in whole.planes.iter_mut().zip(&part.planes) {
            for (y, row) in (rect.y..).zip(source.chunks(rect.width as usize)) {
                let start = (y * size.width + rect.x) as usize;
                target[start..start + row.len()].copy_from_slice(row);
            }
        }
    }
    whole
}

fn hash(rendered: RenderedRect) -> String {
    let bytes = task_bytes(&[rendered], &Pass::ALL).unwrap();
    blake3::hash(&bytes).to_hex().to_string()
}

#[test]
fn pixels_are_pinned() {
    for ((name, world), (pinned_name, pinned)) in worlds::golden_worlds().into_iter().zip(GOLDEN) {
        assert_eq!(name, pinned_name);
        let renderer = prepare(world);
        let found = hash(render(&renderer, worlds::GOLDEN_SIZE.rect()));
        assert_eq!(found, pinned, "{name}");
    }
}

#[test]
fn tiles_and_threads_change_nothing() {
    let size = worlds::GOLDEN_SIZE;
    for ((name, world), (_, pinned)) in worlds::golden_worlds().into_iter().zip(GOLDEN) {
        for (tile_px, threads) in [(8, 4), (64, 1), (64, 4), (0, 1)] {
            let found = in_pool(threads, || {
                let grid = TileGrid::new(size, tile_px);
                let cores = (0..grid.tile_count()).map(|index| grid.core(index));
                hash(assemble(&prepare(world.clone()), cores))
            });
            assert_eq!(found, pinned, "{name}: {tile_px} px, {threads} threads");
        }
        // Rectangles that are no whole cells.
        let odd = (0..size.height).step_by(37).flat_map(|y| {
            (0..size.width).step_by(53).map(move |x| Rect {
                x,
                y,
                width: 53.min(size.width - x),
                height: 37.min(size.height - y),
            })
        });
        assert_eq!(hash(assemble(&prepare(world), odd)), pinned, "{name}: odd");
    }
}

/// Seed and frame are part of every random number.
#[test]
fn seed_and_frame_change_the_noise() {
    let renderer = prepare(worlds::cornell_box());
    let rect = Rect {
        x: 40,
        y: 40,
        width: 8,
        height: 8,
    };
    let with = |seed, frame| {
        let mut settings = worlds::settings(worlds::GOLDEN_SIZE, 1);
        settings.seed = seed;
        hash(renderer.render(&settings, frame, rect, &|| false).unwrap())
    };
    assert_eq!(with(1, 1), with(1, 1));
    assert_ne!(with(1, 1), with(2, 1));
    assert_ne!(with(1, 1), with(1, 2));
    assert_ne!(with(1, 2), with(2, 1));
}
