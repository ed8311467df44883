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
    check_length(rects.iter().map(Rect::cell_count).sum(), cells)
}

/// The same where it is known how many are due.
///
/// # Errors
/// [`CountError`] with both counts.
pub fn check_length(due: usize, cells: &[Blake3Hash]) -> Result<(), CountError> {
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

/// Where cells of `wanted` (rectangles of whole cells, each inside one of `rects`) stand in the canonical order of `rects`;
/// none when one lies outside.
pub fn places(rects: &[Rect], wanted: &[Rect]) -> Option<Vec<usize>> {
    if rects == wanted {
        return Some((0..rects.iter().map(Rect::cell_count).sum()).collect());
    }
    let mut starts = Vec::with_capacity(rects.len());
    let mut start = 0;
    for rect in rects {
        starts.push((rect, start));
        start += rect.cell_count();
    }
    let mut found = Vec::with_capacity(wanted.iter().map(Rect::cell_count).sum());
    for part in wanted {
        let holds = |rect: &Rect| rect.intersection(part) == Some(*part);
        let (rect, start) = starts.iter().find(|(rect, _)| holds(rect))?;
        for (cell, _) in part.cells() {
            found.push(start + position(rect, cell)?);
        }
    }
    Some(found)
}

/// The hashes of the cells of `wanted` in a delivery of `rects`; none when one lies outside or is missing.
pub fn select(rects: &[Rect], cells: &[Blake3Hash], wanted: &[Rect]) -> Option<Vec<Blake3Hash>> {
    let places = places(rects, wanted)?.into_iter();
    places.map(|place| cells.get(place).copied()).collect()
}

/// The cells in two sorted lists on which two deliveries of one frame disagree: the overlap check.
pub fn mismatches(
    left: (&[Cell], &[Blake3Hash]),
    right: (&[Cell], &[Blake3Hash]),
) -> Vec<CellMismatch> {
    let mut found = Vec::new();
    let mut rights = right.0.iter().zip(right.1).peekable();
    for (&cell, &left) in left.0.iter().zip(left.1) {
        while rights.next_if(|(other, _)| **other < cell).is_some() {}
        if let Some((_, &right)) = rights.next_if(|(other, _)| **other == cell)
            && left != right
        {
            found.push(CellMismatch { cell, left, right });
        }
    }
    found
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
    fn exactly_the_shared_wrong_cells_are_named() {
        let cells = |rows: std::ops::Range<u32>| -> Vec<Cell> {
            rows.map(|row| Cell { column: 4, row }).collect()
        };
        let hash = |cell: &Cell| Blake3Hash::of(&cell.row.to_le_bytes());
        let (left, right) = (cells(0..9), cells(3..20));
        let lefts: Vec<Blake3Hash> = left.iter().map(hash).collect();
        let mut rights: Vec<Blake3Hash> = right.iter().map(hash).collect();
        assert_eq!(mismatches((&left, &lefts), (&right, &rights)), []);
        rights[2] = Blake3Hash([0; 32]);
        rights[12] = Blake3Hash([0; 32]);
        let found = mismatches((&left, &lefts), (&right, &rights));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].cell, found[0].left), (right[2], lefts[5]));
        assert_eq!(found[0].right, Blake3Hash([0; 32]));
        let mirrored = mismatches((&right, &rights), (&left, &lefts));
        assert_eq!((mirrored.len(), mirrored[0].cell), (1, right[2]));
    }

    #[test]
    fn cells_are_selected_from_any_of_several_rectangles() {
        let tile = grid().core(5);
        let inside = |x: u32, y: u32, width: u32, height: u32| Rect {
            x: tile.x + x,
            y: tile.y + y,
            width,
            height,
        };
        let rects = [tile, grid().core(0)];
        let cells: Vec<Blake3Hash> = rects.iter().flat_map(honest).collect();
        let wanted = [
            inside(8, 8, 16, 24),
            grid().core(0),
            inside(0, 0, tile.width, 8),
            inside(tile.width - 8, 0, 8, tile.height),
        ];
        let expected: Vec<Blake3Hash> = wanted.iter().flat_map(honest).collect();
        assert_eq!(select(&rects, &cells, &wanted), Some(expected));
        assert_eq!(select(&rects, &cells, &rects), Some(cells.clone()));
        assert_eq!(select(&rects, &cells[..cells.len() - 1], &wanted), None);
        let beyond = inside(tile.width - 8, 0, 16, 8);
        assert_eq!(select(&rects, &cells, &[beyond]), None);
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
