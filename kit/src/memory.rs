//! How the system hands out this process's memory.

/// Asks for small pages only. A process whose memory is in many small pieces (a million buyers'
/// entries, the pages of databases) holds a third less of it so: a huge page stays as long as one
/// of its 512 small ones is used. Where the system cannot, everything stays as it was.
pub fn small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "the system keeps its huge pages");
    }
}
