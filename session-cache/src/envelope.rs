//! A slot as bytes, for caches outside the process: `docs/format.md` says the same in words.
//!
//! The head is text of fixed width, so that a script of Redis can read what it decides by, and write it, without a number
//! that a double could not hold and without touching the rest.

use std::time::Duration;

use bytes::Bytes;
use session_core::Owner;
use session_core::store::{Label, Payload, Record, StoreError, Timestamp, Version, VersionContent};

use crate::slot::{Entry, Lease, Slot};

/// What every slot begins with. The digit is the format's version.
pub(crate) const MAGIC: &[u8; 4] = b"SES1";

const ENTRY: u8 = b'E';
const LEASE: u8 = b'L';
const TOMBSTONE: u8 = b'T';

/// What comes before the owner of an entry, as the scripts have it.
const ENTRY_HEAD_BYTES: usize = 81;

/// Stands for something that is not there, as often as the field is wide.
const ABSENT: u8 = b'-';

/// The seconds between the first moment that can be kept and 1970.
const EPOCH_SECS: i64 = -Timestamp::MIN.as_secs();

/// The longest life that a lease or a tombstone has: 15 digits of milliseconds, which a double holds exactly.
const LIFE_MAX: Duration = Duration::from_millis(999_999_999_999_999);

impl Slot {
    /// The slot as bytes, for a cache outside the process. An empty slot has none.
    ///
    /// # Errors
    ///
    /// What the payload's codec answers, and [`StoreError::TooLarge`] when a part has more bytes than its length can say
    /// (4 GiB of data, 64 KiB of owner or label).
    pub fn to_bytes(&self, cache: &'static str) -> Result<Bytes, StoreError> {
        let mut bytes = Vec::from(MAGIC);
        match self {
            Self::Empty => bytes.clear(),
            Self::Leased { lease, life } => {
                bytes.push(LEASE);
                push_hex(&mut bytes, lease.number(), 16);
                push_decimal(&mut bytes, millis(*life), 15);
            }
            Self::Tombstone { life } => {
                bytes.push(TOMBSTONE);
                push_decimal(&mut bytes, millis(*life), 15);
            }
            Self::Entry(entry) => write_entry(&mut bytes, cache, entry)?,
        }
        Ok(bytes.into())
    }

    /// The slot that these bytes are. The data is not copied.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] when the bytes are no slot, or one that a newer release wrote.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a slot keeps a share of the bytes, and the caller has no further use for them"
    )]
    pub fn from_bytes(cache: &'static str, bytes: Bytes) -> Result<Self, StoreError> {
        if bytes.is_empty() {
            return Ok(Self::Empty);
        }
        let mut reader = Reader {
            bytes: &bytes,
            at: 0,
        };
        reader
            .slot()
            .map_err(|flaw| StoreError::damaged(cache, flaw))
    }
}

/// A moment as the head has it: the seconds since the first moment that can be kept.
pub(crate) fn moment_number(moment: Timestamp) -> u64 {
    u64::try_from(moment.as_secs().saturating_add(EPOCH_SECS)).unwrap_or(0)
}

/// A life in whole milliseconds, at least one.
pub(crate) fn millis(life: Duration) -> u64 {
    let life = life.min(LIFE_MAX);
    let whole = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
    let is_cut = !life.subsec_nanos().is_multiple_of(1_000_000);
    whole.saturating_add(u64::from(is_cut)).max(1)
}

fn write_entry(bytes: &mut Vec<u8>, cache: &'static str, entry: &Entry) -> Result<(), StoreError> {
    let Entry { record, stale_at } = entry;
    let Record {
        payload,
        expires_at,
        version,
        owner,
        label,
        created_at,
        ..
    } = record;
    let payload = payload.to_bytes()?;
    let owner = owner.as_ref().map(Owner::as_str);
    let label = label.as_ref().map(Label::as_str);
    let content = match version {
        Version::Content(content) => Some(content.as_bytes()),
        _ => None,
    };
    let parts = [
        owner.map_or(0, str::len),
        label.map_or(0, str::len),
        content.map_or(0, Bytes::len),
        payload.len(),
    ];
    bytes.reserve_exact(ENTRY_HEAD_BYTES + parts.iter().sum::<usize>());
    bytes.push(ENTRY);
    match version {
        Version::Counter(number) => push_hex(bytes, *number, 16),
        _ => bytes.extend_from_slice(&[ABSENT; 16]),
    }
    push_decimal(bytes, moment_number(*expires_at), 12);
    push_decimal(bytes, moment_number(*stale_at), 12);
    match created_at {
        Some(moment) => push_decimal(bytes, moment_number(*moment), 12),
        None => bytes.extend_from_slice(&[ABSENT; 12]),
    }
    push_length(bytes, cache, owner.map(str::len), 4)?;
    push_length(bytes, cache, label.map(str::len), 4)?;
    push_length(bytes, cache, content.map(Bytes::len), 8)?;
    push_length(bytes, cache, Some(payload.len()), 8)?;
    bytes.extend_from_slice(owner.unwrap_or_default().as_bytes());
    bytes.extend_from_slice(label.unwrap_or_default().as_bytes());
    bytes.extend_from_slice(content.map_or(&[][..], |content| content));
    bytes.extend_from_slice(&payload);
    Ok(())
}

fn push_hex(bytes: &mut Vec<u8>, number: u64, width: usize) {
    push_number(bytes, number, 16, width);
}

fn push_decimal(bytes: &mut Vec<u8>, number: u64, width: usize) {
    push_number(bytes, number, 10, width);
}

/// Padded with zeros to this width at least. Not by `format!`, which takes several times as long and allocates, and there are
/// eight numbers in an entry.
fn push_number(bytes: &mut Vec<u8>, number: u64, radix: u64, width: usize) {
    // 20 decimal digits at most.
    let mut digits = [0_u8; 20];
    let mut rest = number;
    let mut count = 0;
    for digit in digits.iter_mut().rev() {
        if rest == 0 && count >= width {
            break;
        }
        *digit = u8::try_from(rest % radix)
            .ok()
            .and_then(|digit| b"0123456789abcdef".get(usize::from(digit)))
            .copied()
            .unwrap_or(b'0');
        rest /= radix;
        count += 1;
    }
    bytes.extend_from_slice(digits.get(digits.len() - count..).unwrap_or_default());
}

fn push_length(
    bytes: &mut Vec<u8>,
    cache: &'static str,
    length: Option<usize>,
    width: usize,
) -> Result<(), StoreError> {
    let Some(length) = length else {
        bytes.extend(std::iter::repeat_n(ABSENT, width));
        return Ok(());
    };
    let bytes_max = if width == 4 { 0xffff } else { 0xffff_ffff };
    if length > bytes_max {
        return Err(StoreError::too_large(cache, length, bytes_max));
    }
    push_hex(bytes, u64::try_from(length).unwrap_or(u64::MAX), width);
    Ok(())
}

/// Why bytes are no slot. Names the part, never what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Flaw {
    #[error("it does not begin as a slot does: did something else write under this key?")]
    Magic,
    #[error("its format is of another release")]
    Format,
    #[error("it ends too early")]
    Short,
    #[error("it goes on after its end")]
    Long,
    #[error("its {0} can't be read")]
    Field(&'static str),
}

/// What is still to be read of the bytes.
struct Reader<'a> {
    bytes: &'a Bytes,
    /// Where the next field begins.
    at: usize,
}

impl<'a> Reader<'a> {
    fn slot(&mut self) -> Result<Slot, Flaw> {
        let magic = self.take(MAGIC.len())?;
        if magic != MAGIC.as_slice() {
            let is_ours = magic.get(..3) == MAGIC.get(..3);
            return Err(if is_ours { Flaw::Format } else { Flaw::Magic });
        }
        let kind = self.take(1)?;
        let slot = match kind.first() {
            Some(&LEASE) => Slot::Leased {
                lease: Lease::from_number(hex(self.take(16)?, "lease")?),
                life: self.life()?,
            },
            Some(&TOMBSTONE) => Slot::Tombstone { life: self.life()? },
            Some(&ENTRY) => Slot::Entry(self.entry()?),
            _ => return Err(Flaw::Field("kind")),
        };
        if self.at == self.bytes.len() {
            Ok(slot)
        } else {
            Err(Flaw::Long)
        }
    }

    fn entry(&mut self) -> Result<Entry, Flaw> {
        let number = self.optional(16, |field| hex(field, "version"))?;
        let expires_at = moment(self.take(12)?, "expiry")?;
        let stale_at = moment(self.take(12)?, "staleness")?;
        let created_at = self.optional(12, |field| moment(field, "creation time"))?;
        let owner_bytes = self.optional(4, |field| length(field, "owner"))?;
        let label_bytes = self.optional(4, |field| length(field, "label"))?;
        let content_bytes = self.optional(8, |field| length(field, "version"))?;
        let payload_bytes = length(self.take(8)?, "data")?;
        let owner = self.text(owner_bytes, "owner")?;
        let label = self.text(label_bytes, "label")?;
        let version = match (number, content_bytes) {
            (Some(number), None) => Version::Counter(number),
            (None, Some(length)) => Version::Content(VersionContent::new(self.share(length)?)),
            _ => return Err(Flaw::Field("version")),
        };
        let payload = Payload::from_bytes(self.share(payload_bytes)?);
        let mut record = Record::new(payload, expires_at, version);
        record.owner = owner.map(Owner::from);
        record.label = label.map(Label::new);
        record.created_at = created_at;
        Ok(Entry::copy(record, stale_at))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Flaw> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (field, _) = rest.split_at_checked(length).ok_or(Flaw::Short)?;
        self.at += length;
        Ok(field)
    }

    /// The same without a copy, for what outlives this.
    fn share(&mut self, length: usize) -> Result<Bytes, Flaw> {
        let field = self.take(length)?;
        Ok(self.bytes.slice_ref(field))
    }

    fn life(&mut self) -> Result<Duration, Flaw> {
        Ok(Duration::from_millis(decimal(self.take(15)?, "life")?))
    }

    /// A field of this width, or nothing where it says so.
    fn optional<T>(
        &mut self,
        width: usize,
        read: impl FnOnce(&[u8]) -> Result<T, Flaw>,
    ) -> Result<Option<T>, Flaw> {
        let field = self.take(width)?;
        if field.iter().all(|byte| *byte == ABSENT) {
            return Ok(None);
        }
        read(field).map(Some)
    }

    fn text(&mut self, length: Option<usize>, what: &'static str) -> Result<Option<&'a str>, Flaw> {
        let Some(length) = length else {
            return Ok(None);
        };
        match str::from_utf8(self.take(length)?) {
            Ok(text) => Ok(Some(text)),
            Err(_not_text) => Err(Flaw::Field(what)),
        }
    }
}

fn hex(field: &[u8], what: &'static str) -> Result<u64, Flaw> {
    number(field, 16, what)
}

fn decimal(field: &[u8], what: &'static str) -> Result<u64, Flaw> {
    number(field, 10, what)
}

/// Stricter than `from_str_radix`, which takes signs and capitals, so that there is one way to write each slot.
fn number(field: &[u8], radix: u64, what: &'static str) -> Result<u64, Flaw> {
    let mut number = 0_u64;
    for byte in field {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' if radix == 16 => byte - b'a' + 10,
            _ => return Err(Flaw::Field(what)),
        };
        let larger = number.checked_mul(radix);
        let larger = larger.and_then(|number| number.checked_add(u64::from(digit)));
        number = larger.ok_or(Flaw::Field(what))?;
    }
    Ok(number)
}

fn length(field: &[u8], what: &'static str) -> Result<usize, Flaw> {
    usize::try_from(hex(field, what)?).map_err(|_too_large| Flaw::Field(what))
}

fn moment(field: &[u8], what: &'static str) -> Result<Timestamp, Flaw> {
    let number = decimal(field, what)?;
    if number > moment_number(Timestamp::MAX) {
        return Err(Flaw::Field(what));
    }
    let secs = i64::try_from(number).map_err(|_too_large| Flaw::Field(what))?;
    Ok(Timestamp::from_secs(secs.saturating_sub(EPOCH_SECS)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slots() -> impl Strategy<Value = Slot> {
        let moments =
            || (Timestamp::MIN.as_secs()..=Timestamp::MAX.as_secs()).prop_map(Timestamp::from_secs);
        let texts = || proptest::option::of("\\PC{0,40}");
        let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
        let versions = prop_oneof![
            any::<u64>().prop_map(Version::Counter),
            bytes().prop_map(|bytes| Version::Content(VersionContent::new(bytes.into()))),
        ];
        let entries = (
            versions,
            moments(),
            moments(),
            proptest::option::of(moments()),
            texts(),
            texts(),
            bytes(),
        )
            .prop_map(
                |(version, expires_at, stale_at, created_at, owner, label, data)| {
                    let mut record = Record::new(Payload::from_bytes(data), expires_at, version);
                    record.created_at = created_at;
                    record.owner = owner.map(Owner::from);
                    record.label = label.as_deref().map(Label::new);
                    Slot::Entry(Entry::copy(record, stale_at))
                },
            );
        let lives = || (1..=999_999_999_999_999_u64).prop_map(Duration::from_millis);
        prop_oneof![
            6 => entries,
            1 => Just(Slot::Empty),
            1 => lives().prop_map(|life| Slot::Tombstone { life }),
            1 => (any::<u64>(), lives()).prop_map(|(number, life)| Slot::Leased {
                lease: Lease::from_number(number),
                life,
            }),
        ]
    }

    fn written(slot: &Slot) -> Bytes {
        slot.to_bytes("a test").expect("every part is short enough")
    }

    fn read(bytes: impl Into<Bytes>) -> Result<Slot, StoreError> {
        Slot::from_bytes("a test", bytes.into())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(slot in slots()) {
            let bytes = written(&slot);
            let back = read(bytes.clone()).expect("it was just written");
            // There is one way to write a slot, so that equal bytes are equal slots.
            prop_assert_eq!(written(&back), bytes);
            prop_assert_eq!(std::mem::discriminant(&slot), std::mem::discriminant(&back));
            if let (Slot::Entry(slot), Slot::Entry(back)) = (&slot, &back) {
                prop_assert_eq!(&slot.record.version, &back.record.version);
                prop_assert_eq!(slot.record.expires_at, back.record.expires_at);
                prop_assert_eq!(slot.record.created_at, back.record.created_at);
                prop_assert_eq!(slot.stale_at, back.stale_at);
                prop_assert!(slot.record.owner == back.record.owner);
                prop_assert!(slot.record.label == back.record.label);
                let data = |entry: &Entry| entry.record.payload.to_bytes().expect("bytes are bytes");
                prop_assert_eq!(data(slot), data(back));
            }
        }

        #[test]
        fn no_truncation_is_taken_for_a_slot(slot in slots()) {
            let bytes = written(&slot);
            for length in 1..bytes.len() {
                prop_assert!(
                    matches!(read(bytes.slice(..length)), Err(StoreError::Damaged { .. })),
                    "a slot that was cut at byte {} was read", length
                );
            }
        }

        #[test]
        fn a_flipped_bit_is_an_error_or_another_slot(
            slot in slots(),
            place in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let mut bytes = Vec::from(written(&slot));
            prop_assume!(!bytes.is_empty());
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            match read(bytes.clone()) {
                Err(StoreError::Damaged { .. }) => {}
                Err(error) => prop_assert!(false, "{}", error),
                Ok(other) => prop_assert_eq!(written(&other), bytes),
            }
        }

        #[test]
        fn in_13_random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(read(bytes));
        }
    }

    #[test]
    fn data_03_the_head_is_where_the_scripts_look_for_it() {
        let mut record = Record::new(
            Payload::from_bytes("data"),
            Timestamp::from_secs(0),
            Version::Counter(0x1f),
        );
        record.owner = Some(Owner::from("ada"));
        let bytes = written(&Slot::Entry(Entry::original(record)));
        let expected = "SES1E000000000000001f062135596800315537897599------------0003------------00000004adadata";
        assert_eq!(str::from_utf8(&bytes), Ok(expected));
        assert_eq!(bytes.len(), ENTRY_HEAD_BYTES + "adadata".len());
    }

    /// Servers of two releases share a cache while one replaces the other.
    #[test]
    fn slots_of_release_0_1_are_read_and_written_in_the_same_bytes() {
        let fixtures: [&[u8]; 4] = [
            include_bytes!("../tests/fixtures/0.1/slot.original"),
            include_bytes!("../tests/fixtures/0.1/slot.copy"),
            include_bytes!("../tests/fixtures/0.1/slot.lease"),
            include_bytes!("../tests/fixtures/0.1/slot.tombstone"),
        ];
        let slots = fixtures.map(|bytes| {
            let slot = read(bytes).expect("a slot of 0.1 can't be read any more");
            assert_eq!(written(&slot), bytes, "servers of 0.1 would not read it");
            slot
        });
        let [
            Slot::Entry(original),
            Slot::Entry(copy),
            Slot::Leased { lease, life },
            Slot::Tombstone { life: rest },
        ] = slots
        else {
            panic!("a slot of 0.1 is taken for another kind");
        };
        for entry in [&original, &copy] {
            let record = &entry.record;
            assert_eq!(record.version, Version::Counter(0x0102_0304_0506_0708));
            assert_eq!(record.expires_at, Timestamp::from_secs(1_801_209_600));
            assert_eq!(record.created_at, Some(Timestamp::from_secs(1_800_000_000)));
            assert_eq!(record.owner, Some(Owner::from("ada")));
            let label = record.label.as_ref().map(Label::as_str);
            assert_eq!(label, Some("Ada's téléphone"));
            assert!(record.payload.to_bytes().unwrap().starts_with(br#"{""#));
        }
        assert_eq!(original.stale_at, Timestamp::MAX);
        assert_eq!(copy.stale_at, Timestamp::from_secs(1_800_000_060));
        assert_eq!(lease.number(), 0xfeed_0000_0000_0001);
        assert_eq!(life, Duration::from_millis(1_500));
        assert_eq!(rest, Duration::from_secs(15));
    }

    #[test]
    fn data_03_a_slot_of_another_release_says_so() {
        let Err(StoreError::Damaged { source, .. }) = read("SES2E") else {
            panic!("a slot of another format was read");
        };
        assert!(source.to_string().contains("release"), "{source}");
    }

    #[test]
    fn a_life_is_rounded_up_so_that_nothing_ends_early() {
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_micros(1_001)), 2);
        assert_eq!(millis(Duration::from_millis(2)), 2);
        assert_eq!(millis(Duration::MAX), 999_999_999_999_999);
    }
}
