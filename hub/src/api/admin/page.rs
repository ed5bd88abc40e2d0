//! How many rows a list has.

/// Most rows of one page.
const PAGE_MAX: u32 = 10_000;

/// The rows asked for, `default` if nothing was said.
pub(super) fn page(limit: u32, default: u32) -> usize {
    let limit = if limit == 0 { default } else { limit.min(PAGE_MAX) };
    limit as usize
}
