//! Delivered cells: are there as many as due, and where do two deliveries of the same frame disagree?

use protocol::{
    Blake3Hash, Rect,
    geometry::{CELL_PX, Cell},
};

/// A delivery with too many or too few cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{found} cells were delivered where {due} are due")]
pub struct CountError {
    /// Cells that the task's rectangles touch.
    pub due: usize,
    /// Cells delivered.
    pub found: usize,
}

/// A cell on which two deliveries disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellMismatch {
    /// The cell.
    pub cell: Cell,
    /// Its hash in the first delivery.
    pub left: Blake3Hash,
    /// Its hash in the second.
    pub right: Blake3Hash,
}

/// Checks that a delivery has exactly the cells that its rectangles touch. Without it an empty or short list would
/// match anything.
///
/// # Errors
/// [`CountError`] with both counts.
pub fn check_count(rects: &[Rect], cells: &[Blake3Hash]) -> Result<(), CountError> {
    let due = rects.iter().map(Rect::cell_count).sum();
    match cells.len() {
        found if found == due => Ok(()),
        found => Err(CountError { due, found }),
    }
}

/// Position of a cell in the canonical order of a rectangle; none when it does not touch it.
pub fn position(rect: &Rect, cell: Cell) -> Option<usize> {
    let column = cell.column.checked_sub(rect.x / CELL_PX)?;
    let row = cell.row.checked_sub(rect.y / CELL_PX)?;
    (column < rect.cells_across() && row < rect.cells_down())
        .then(|| row as usize * rect.cells_across() as usize + column as usize)
}

/// All cells that two deliveries of one frame share and disagree on: a tile against its neighbour (the overlap check)
/// or a tile against probes of it. Rectangles are whole cells, hashes in canonical order, one rectangle after the other;
/// a cell missing from a list that is too short counts as agreeing, so check the counts first.
pub fn mismatches(
    left_rects: &[Rect],
    left: &[Blake3Hash],
    right_rects: &[Rect],
    right: &[Blake3Hash],
) -> Vec<CellMismatch> {
    let mut found = Vec::new();
    let mut left_start = 0;
    for left_rect in left_rects {
        let mut right_start = 0;
        for right_rect in right_rects {
            if let Some(shared) = left_rect.intersection(right_rect) {
                let left_cells = left.get(left_start..).unwrap_or_default();
                let right_cells = right.get(right_start..).unwrap_or_default();
                let (left, right) = ((left_rect, left_cells), (right_rect, right_cells));
                compare_rows(&shared, left, right, &mut found);
            }
            right_start += right_rect.cell_count();
        }
        left_start += left_rect.cell_count();
    }
    found
}

/// Compares the cells of `shared` in two rectangles that hold it, a row at a time.
fn compare_rows(
    shared: &Rect,
    left: (&Rect, &[Blake3Hash]),
    right: (&Rect, &[Blake3Hash]),
    found: &mut Vec<CellMismatch>,
) {
    let (first_column, first_row) = (shared.x / CELL_PX, shared.y / CELL_PX);
    for row in first_row..first_row + shared.cells_down() {
        let first = Cell {
            column: first_column,
            row,
        };
        let in_row = |(rect, cells): (&Rect, &'_ [Blake3Hash])| {
            let start = position(rect, first)
                .unwrap_or(cells.len())
                .min(cells.len());
            start..(start + shared.cells_across() as usize).min(cells.len())
        };
        let (lefts, rights) = (&left.1[in_row(left)], &right.1[in_row(right)]);
        if lefts == rights {
            continue;
        }
        for (column, (left, right)) in (first_column..).zip(lefts.iter().zip(rights)) {
            if left != right {
                found.push(CellMismatch {
                    cell: Cell { column, row },
                    left: *left,
                    right: *right,
                });
            }
        }
    }
}

/// The hashes that a delivery of `rect` has for the cells of `wanted` (rectangles of whole cells inside it), in
/// canonical order of `wanted`; none when a cell lies outside or is missing.
pub fn select(rect: &Rect, cells: &[Blake3Hash], wanted: &[Rect]) -> Option<Vec<Blake3Hash>> {
    let (columns, rows) = (rect.cells_across(), rect.cells_down());
    let mut selected = Vec::with_capacity(wanted.iter().map(Rect::cell_count).sum());
    for part in wanted.iter().filter(|part| part.area() > 0) {
        let (across, down) = (part.cells_across(), part.cells_down());
        let column = (part.x / CELL_PX).checked_sub(rect.x / CELL_PX)?;
        let row = (part.y / CELL_PX).checked_sub(rect.y / CELL_PX)?;
        if column.checked_add(across)? > columns || row.checked_add(down)? > rows {
            return None;
        }
        for row in row..row + down {
            let start = row as usize * columns as usize + column as usize;
            selected.extend_from_slice(cells.get(start..start + across as usize)?);
        }
    }
    Some(selected)
}

/// One hash for a list of cells: the cell's own when there is just one, so that evidence names what a person can
/// compare, else the hash of all.
pub fn digest(cells: &[Blake3Hash]) -> Blake3Hash {
    match cells {
        [one] => *one,
        many => {
            let mut hasher = blake3::Hasher::new_derive_key("open render farm 2026 cell list v1");
            // One long update: the hash works on many chunks at a time, on few bytes at a time it cannot.
            let bytes: Vec<[u8; 32]> = many.iter().map(|cell| cell.0).collect();
            hasher.update(bytes.as_flattened());
            hasher.finalize().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Size, TileGrid};

    fn honest(rect: &Rect) -> Vec<Blake3Hash> {
        let of = |cell: Cell| Blake3Hash::of(format!("{} {}", cell.column, cell.row).as_bytes());
        rect.cells().map(|(cell, _)| of(cell)).collect()
    }

    fn grid() -> TileGrid {
        TileGrid::new(Size::new(100, 70).unwrap(), 32)
    }

    #[test]
    fn counts_are_exact() {
        let rects = [grid().rendered(0), grid().rendered(1)];
        let due = rects.iter().map(Rect::cell_count).sum::<usize>();
        let cells = vec![Blake3Hash([0; 32]); due + 1];
        assert!(check_count(&rects, &cells[..due]).is_ok());
        assert!(check_count(&rects, &cells).is_err());
        assert!(check_count(&rects, &cells[..due - 1]).is_err());
        assert!(check_count(&rects, &[]).is_err());
    }

    #[test]
    fn honest_neighbours_agree_on_shared_cells_of_every_tile() {
        let grid = grid();
        for left in 0..grid.tile_count() {
            for right in 0..grid.tile_count() {
                let (left, right) = (grid.rendered(left), grid.rendered(right));
                assert_eq!(
                    mismatches(&[left], &honest(&left), &[right], &honest(&right)),
                    []
                );
            }
        }
    }

    #[test]
    fn exactly_the_shared_wrong_cells_are_named() {
        let (left, right) = (grid().rendered(0), grid().rendered(1));
        let shared = left.intersection(&right).unwrap();
        assert_eq!(shared.cell_count(), 5);
        let mut cells = honest(&right);
        cells.fill(Blake3Hash([0; 32]));
        let found = mismatches(&[left], &honest(&left), &[right], &cells);
        let named: Vec<Cell> = found.iter().map(|mismatch| mismatch.cell).collect();
        let expected: Vec<Cell> = shared.cells().map(|(cell, _)| cell).collect();
        assert_eq!(named, expected);
        assert_eq!(found[0].left, Blake3Hash::of(b"4 0"));
        assert_eq!(found[0].right, Blake3Hash([0; 32]));
    }

    #[test]
    fn single_cells_are_compared_with_the_tile_that_holds_them() {
        let tile = grid().rendered(5);
        let probes: Vec<Rect> = tile.cells().map(|(_, rect)| rect).step_by(3).collect();
        let mut answers = select(&tile, &honest(&tile), &probes).unwrap();
        assert_eq!(mismatches(&[tile], &honest(&tile), &probes, &answers), []);
        answers[2] = Blake3Hash([9; 32]);
        let found = mismatches(&[tile], &honest(&tile), &probes, &answers);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].cell.square().intersection(&tile), Some(probes[2]));
        assert_eq!(select(&tile, &honest(&tile), &[grid().rendered(0)]), None);
    }

    #[test]
    fn rectangles_of_any_shape_are_selected_in_canonical_order() {
        let tile = grid().rendered(5);
        let inside = |x: u32, y: u32, width: u32, height: u32| Rect {
            x: tile.x + x,
            y: tile.y + y,
            width,
            height,
        };
        let wanted = [
            inside(8, 8, 16, 24),
            inside(0, 0, tile.width, 8),
            inside(8, 0, 0, 8),
            inside(tile.width - 8, 0, 8, tile.height),
        ];
        let expected: Vec<Blake3Hash> = wanted.iter().flat_map(honest).collect();
        let cells = honest(&tile);
        assert_eq!(select(&tile, &cells, &wanted), Some(expected));
        assert_eq!(select(&tile, &cells[..cells.len() - 1], &wanted), None);
        let beyond = inside(tile.width - 8, 0, 16, 8);
        assert_eq!(select(&tile, &cells, &[beyond]), None);
    }

    #[test]
    fn a_digest_depends_on_every_cell_and_their_order() {
        let [a, b] = [Blake3Hash([1; 32]), Blake3Hash([2; 32])];
        assert_eq!(digest(&[a]), a);
        assert_ne!(digest(&[a, b]), digest(&[b, a]));
        assert_ne!(digest(&[a, b]), digest(&[a, b, b]));
    }

    #[test]
    fn a_digest_is_the_hash_of_the_cells_one_after_the_other() {
        let cells: Vec<Blake3Hash> = (0..1000u32)
            .map(|n| Blake3Hash::of(&n.to_le_bytes()))
            .collect();
        for count in [2, 31, 128, 1000] {
            let mut hasher = blake3::Hasher::new_derive_key("open render farm 2026 cell list v1");
            for cell in &cells[..count] {
                hasher.update(&cell.0);
            }
            assert_eq!(digest(&cells[..count]), hasher.finalize().into());
        }
    }
}
