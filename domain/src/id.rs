//! Ids and positions: every number that names something. It mints nothing; clocks and leases are
//! elsewhere.

use std::{fmt, hash::Hasher, num::NonZeroU64, str::FromStr};

use siphasher::sip128::{Hasher128, SipHasher13};

/// The highest id: ids are stored as signed 64-bit numbers.
pub const ID_MAX: u64 = i64::MAX as u64;

/// A text or number that is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is a decimal number from 1 to {max}")]
pub struct InvalidId {
    /// The highest id of its kind.
    pub max: u64,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident up to $max:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(NonZeroU64);

        impl $name {
            /// The highest one.
            pub const MAX: u64 = $max;

            /// Takes a number from 1 to [`Self::MAX`].
            ///
            /// # Errors
            /// [`InvalidId`] outside that range.
            pub const fn new(value: u64) -> Result<Self, InvalidId> {
                match NonZeroU64::new(value) {
                    Some(number) if value <= Self::MAX => Ok(Self(number)),
                    _ => Err(InvalidId { max: Self::MAX }),
                }
            }

            /// The bare number.
            pub const fn get(self) -> u64 {
                self.0.get()
            }

            /// The number as databases store it.
            pub const fn stored(self) -> i64 {
                self.get().cast_signed()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse_decimal(text).map_or(Err(InvalidId { max: Self::MAX }), Self::new)
            }
        }

        impl TryFrom<u64> for $name {
            type Error = InvalidId;
            fn try_from(value: u64) -> Result<Self, InvalidId> {
                Self::new(value)
            }
        }
    )*};
}

ids! {
    /// A merchant's shop. At most 32 bits, so that it stays small in rows and tokens.
    TenantId up to u32::MAX as u64;
    /// A promotion with a time window.
    SaleId up to ID_MAX;
    /// One SKU put into one sale.
    OfferId up to ID_MAX;
    /// What the merchant sells, across sales.
    SkuId up to ID_MAX;
    /// The unit of ordering: one offer, or the offers of a sale that share one limit per buyer.
    LaneId up to ID_MAX;
    /// A person who buys; unique within the deployment.
    BuyerId up to ID_MAX;
    /// One order; see [`OrderId::compose`].
    OrderId up to ID_MAX;
    /// The reservations of one Lua call: the order id minted for the call's first request.
    BatchId up to ID_MAX;
    /// Identity of a log record, in its `ce_id` header: what a position must still hold (R10).
    RecordId up to ID_MAX;
}

impl TenantId {
    /// The bare number, as rows, records and tokens hold it.
    pub const fn number(self) -> u32 {
        // Its range is 32 bits.
        self.get() as u32
    }
}

/// Strict decimal: no sign, no leading zero, no blank, so that one id has one spelling.
fn parse_decimal(text: &str) -> Option<u64> {
    if text.len() > 19 || text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Milliseconds from the Unix epoch to 2025-01-01T00:00:00Z, where order ids begin to count.
pub const ORDER_EPOCH_MS: u64 = 1_735_689_600_000;
/// Milliseconds from the Unix epoch to [`ORDER_END`], from where on no order id can be minted.
pub const ORDER_END_MS: u64 = ORDER_EPOCH_MS + (1 << TIME_BITS);
/// [`ORDER_END_MS`] as people write it.
pub const ORDER_END: &str = "2059-11-04T19:53:47.776Z";
/// Buyers hash to this many slots.
pub const SLOTS: u16 = 1024;
/// Order ids that one worker can mint for one slot in one millisecond.
pub const SEQUENCES: u8 = 32;

const SEQUENCE_BITS: u32 = 5;
const WORKER_BITS: u32 = 8;
const SLOT_BITS: u32 = 10;
const TIME_BITS: u32 = 40;
const _: () = assert!(SEQUENCE_BITS + WORKER_BITS + SLOT_BITS + TIME_BITS == 63);
const _: () = assert!(1 << SLOT_BITS == SLOTS as u32 && 1 << SEQUENCE_BITS == SEQUENCES as u32);

/// Where a buyer's orders live: one of [`SLOTS`]; shards and tables own ranges of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot of a buyer. Fixed for ever: rows are found by it. (The finalizer of splitmix64, top
    /// 10 bits.)
    pub const fn of(buyer: BuyerId) -> Self {
        let mut z = buyer.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        Self((z >> (64 - SLOT_BITS)) as u16)
    }

    /// The slot's number, below [`SLOTS`].
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The slot with this number, `None` from [`SLOTS`] on.
    pub const fn new(number: u16) -> Option<Self> {
        if number < SLOTS { Some(Self(number)) } else { None }
    }
}

/// The number of an engine replica, leased from the ledger database.
pub type WorkerNumber = u8;

impl OrderId {
    /// 40 bits of milliseconds since 2025, 10 slot, 8 worker, 5 sequence. `None` before 2025, after
    /// 2059, or for a sequence of [`SEQUENCES`] and more.
    pub const fn compose(epoch_ms: u64, slot: Slot, worker: WorkerNumber, sequence: u8) -> Option<Self> {
        let Some(ms) = epoch_ms.checked_sub(ORDER_EPOCH_MS) else { return None };
        if ms == 0 || ms >> TIME_BITS != 0 || sequence >= SEQUENCES {
            return None;
        }
        let high = (ms << SLOT_BITS) | slot.0 as u64;
        match NonZeroU64::new((((high << WORKER_BITS) | worker as u64) << SEQUENCE_BITS) | sequence as u64) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Epoch milliseconds at which it was minted, by the engine's clock.
    pub const fn minted_at_ms(self) -> u64 {
        (self.get() >> (SLOT_BITS + WORKER_BITS + SEQUENCE_BITS)) + ORDER_EPOCH_MS
    }

    /// The slot of its buyer: order and buyer route to the same shard.
    pub const fn slot(self) -> Slot {
        Slot(((self.get() >> (WORKER_BITS + SEQUENCE_BITS)) & (SLOTS as u64 - 1)) as u16)
    }

    /// Its number among those that one worker minted for one slot in one millisecond.
    pub const fn sequence(self) -> u8 {
        (self.get() & (SEQUENCES as u64 - 1)) as u8
    }

    /// The engine replica that minted it.
    pub const fn worker(self) -> WorkerNumber {
        ((self.get() >> SEQUENCE_BITS) & 0xff) as u8
    }

    /// A lower bound of all ids minted at or after this moment: for range scans on the time-ordered
    /// primary key.
    pub const fn floor_at(epoch_ms: u64) -> u64 {
        epoch_ms.saturating_sub(ORDER_EPOCH_MS) << (SLOT_BITS + WORKER_BITS + SEQUENCE_BITS)
    }
}

/// Generation of a lane's stock in Redis, fixed by a record in the log. 0: never opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The highest one: the lanes' server counts in numbers of 53 bits.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// The epoch a rebuild asks for.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A partition of the order log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u32);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Generation of a partition of the log, counted from 1: a lost or recreated log starts a new one.
/// Below 4096.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u16);

/// Where a reservation or record stands in its partition: generation, offset, index within the
/// batch. Ordered as the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Generation of the partition.
    pub generation: Generation,
    /// Offset of the record.
    pub offset: u64,
    /// Index of the reservation in its batch; 0 for other records.
    pub index: u8,
}

const INDEX_BITS: u32 = 8;
const OFFSET_BITS: u32 = 43;

impl Position {
    /// One signed 64-bit number in the same order: 12 bits generation, 43 offset, 8 index. `None`
    /// if a part is out of range.
    pub const fn pack(self) -> Option<i64> {
        if self.generation.0 >= 1 << 12 || self.offset >> OFFSET_BITS != 0 {
            return None;
        }
        let high = ((self.generation.0 as u64) << OFFSET_BITS) | self.offset;
        Some(((high << INDEX_BITS) | self.index as u64).cast_signed())
    }

    /// The inverse of [`Position::pack`].
    pub const fn unpack(packed: i64) -> Self {
        let bits = packed.cast_unsigned();
        Self {
            generation: Generation((bits >> (OFFSET_BITS + INDEX_BITS)) as u16),
            offset: (bits >> INDEX_BITS) & ((1 << OFFSET_BITS) - 1),
            index: (bits & 0xff) as u8,
        }
    }
}

/// Hash of an idempotency key in its scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub [u8; 16]);

impl KeyHash {
    /// SipHash-1-3, 128 bits, over the scope (tenant, buyer, offer) and the key as the client sent
    /// it. The scope holds the buyer, so that a forged collision hurts only its maker.
    pub fn of(tenant: TenantId, buyer: BuyerId, offer: OfferId, key: &str) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(&tenant.get().to_be_bytes());
        hasher.write(&buyer.get().to_be_bytes());
        hasher.write(&offer.get().to_be_bytes());
        hasher.write(key.as_bytes());
        Self(hasher.finish128().as_bytes())
    }
}

/// Which of a buyer's live purchases in a lane: 1 is the first. The lowest free one is given, so
/// that the unique key (buyer, lane, number) holds at most as many live rows as the limit allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PurchaseNumber(pub u8);

#[cfg(test)]
mod tests {
    use super::*;

    fn buyer(number: u64) -> BuyerId {
        BuyerId::new(number).unwrap()
    }

    /// Rows are found by slot and position: their values may never change.
    #[test]
    fn slots_and_key_hashes_are_fixed_for_ever() {
        let slots: Vec<u16> = (1..=4).map(|b| Slot::of(buyer(b)).get()).collect();
        assert_eq!(slots, [580, 605, 116, 441], "slot of buyers 1..=4");
        // By another program's SipHash-1-3: a library that computes another value fails here.
        let last = "a".repeat(255);
        let hashes = [
            (1, 2, 3, "key", "5b802be681d6d9b1d386f338200ea024"),
            (7, 42, 9001, "first", "06a8079bdde1c2d757780ffd38c8736d"),
            (1, 1, 1, "订单-1", "8eb769e2dd8520d6b9d91e2e04c490a5"),
            (u64::from(u32::MAX), ID_MAX, ID_MAX, &last, "85f5e8e2570cb373e59fcd19c94865ad"),
        ];
        for (tenant, of, offer, key, expected) in hashes {
            let (tenant, offer) = (TenantId::new(tenant).unwrap(), OfferId::new(offer).unwrap());
            let hash = KeyHash::of(tenant, buyer(of), offer, key);
            assert_eq!(hash.0.map(|byte| format!("{byte:02x}")).concat(), expected, "{key}");
        }
    }

    #[test]
    fn an_order_id_gives_back_its_time_and_slot() {
        let slot = Slot::of(buyer(42));
        let id = OrderId::compose(ORDER_EPOCH_MS + 123_456, slot, 255, 31).unwrap();
        assert_eq!(id.minted_at_ms(), ORDER_EPOCH_MS + 123_456);
        assert_eq!(id.slot(), slot);
        assert_eq!((id.worker(), id.sequence()), (255, 31));
        assert!(OrderId::floor_at(ORDER_EPOCH_MS + 123_456) <= id.get());
        assert!(OrderId::floor_at(ORDER_EPOCH_MS + 123_457) > id.get());
        assert_eq!(OrderId::compose(ORDER_EPOCH_MS - 1, slot, 0, 0), None);
        assert_eq!(OrderId::compose(ORDER_EPOCH_MS + 1, slot, 0, 32), None);
        assert!(OrderId::compose(ORDER_END_MS - 1, slot, 0, 0).is_some());
        assert_eq!(OrderId::compose(ORDER_END_MS, slot, 0, 0), None);
    }

    #[test]
    fn positions_pack_in_log_order_and_unpack() {
        let at = |generation, offset, index| Position { generation: Generation(generation), offset, index };
        let ordered = [at(1, 0, 0), at(1, 0, 255), at(1, 1, 0), at(1, (1 << 43) - 1, 9), at(2, 0, 0), at(4095, 7, 7)];
        let packed: Vec<i64> = ordered.iter().map(|p| p.pack().unwrap()).collect();
        assert!(packed.is_sorted());
        assert!(packed.iter().zip(ordered).all(|(&p, o)| Position::unpack(p) == o));
        assert_eq!(at(4096, 0, 0).pack(), None);
    }

    #[test]
    fn one_id_has_one_spelling() {
        for bad in ["", "0", "01", "+1", " 1", "1 ", "-1", "9223372036854775808", "99999999999999999999", "1e3", "１"]
        {
            assert_eq!(bad.parse::<OfferId>(), Err(InvalidId { max: ID_MAX }), "{bad:?}");
        }
        assert_eq!("9223372036854775807".parse::<OfferId>().unwrap().get(), ID_MAX);
    }

    /// A tenant that 32 bits do not hold is refused where it comes in, so that no later step cuts
    /// it.
    #[test]
    fn a_tenant_has_32_bits_or_is_refused() {
        assert_eq!("4294967295".parse::<TenantId>().unwrap().number(), u32::MAX);
        for bad in ["4294967296", "99999999999"] {
            let refused = bad.parse::<TenantId>().unwrap_err().to_string();
            assert_eq!(refused, "an id is a decimal number from 1 to 4294967295");
        }
    }
}
