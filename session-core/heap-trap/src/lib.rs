//! An allocator that keeps a copy of every block that is freed, so that a test can look for secrets in them.
//!
//! For tests alone: it never gives that memory back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// Room for what is freed while the trap is set, and for a copy of each block's start beyond it.
const ROOM_BYTES: usize = 256 * 1024 * 1024;

/// The system's allocator, with a trap.
#[derive(Debug)]
pub struct Trap {
    is_set: AtomicBool,
    room: AtomicPtr<u8>,
    used: AtomicUsize,
}

impl Trap {
    /// A trap that is not set.
    #[expect(
        clippy::new_without_default,
        reason = "an allocator is a static, and this can be called there"
    )]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            is_set: AtomicBool::new(false),
            room: AtomicPtr::new(std::ptr::null_mut()),
            used: AtomicUsize::new(0),
        }
    }

    /// Copies whatever is freed from now on.
    pub fn set(&self) {
        let layout = Layout::from_size_align(ROOM_BYTES, 1).expect("that is a layout");
        // SAFETY: the layout is not empty.
        let room = unsafe { System.alloc_zeroed(layout) };
        assert!(!room.is_null(), "there is no memory for the trap");
        self.room.store(room, Ordering::SeqCst);
        self.is_set.store(true, Ordering::SeqCst);
    }

    /// Everything that was freed since then, one block after the other.
    pub fn spring(&self) -> &[u8] {
        self.is_set.store(false, Ordering::SeqCst);
        let used = self.used.load(Ordering::SeqCst);
        assert!(used < ROOM_BYTES, "the trap is too small for this test");
        let room = self.room.load(Ordering::SeqCst);
        // SAFETY: `room` has `ROOM_BYTES` bytes, zeroed when they were allocated, and is never given back.
        unsafe { std::slice::from_raw_parts(room, used) }
    }
}

// SAFETY: everything is handed to the system's allocator as it is. `realloc` is the default one, which frees the old block
// through `dealloc`.
unsafe impl GlobalAlloc for Trap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller has promised. Zeroed, so that every byte of a freed block can be read.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if self.is_set.load(Ordering::SeqCst) {
            // A byte between two blocks, so that none is found that begins in one and ends in the next.
            let at = self.used.fetch_add(layout.size() + 1, Ordering::SeqCst);
            if at + layout.size() < ROOM_BYTES {
                let room = self.room.load(Ordering::SeqCst);
                // SAFETY: the block is the caller's until this returns, and this part of the room is nobody else's.
                unsafe { std::ptr::copy_nonoverlapping(block, room.add(at), layout.size()) };
            }
        }
        // SAFETY: as the caller has promised.
        unsafe { System.dealloc(block, layout) };
    }
}
