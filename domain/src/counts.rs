//! Counts of what became of buyers' attempts, by step, and the records in which engines tell them.
//! They are about attempts: what is sold stands in the ledger.

use prost::{
    Message,
    encoding::{decode_varint, encode_varint},
};

use bytes::Bytes;

use crate::{
    id::{ID_MAX, OfferId, SaleId, TenantId},
    record::{COUNTS_TYPE, Flawed, RecordError, checked, tenant_id},
};

/// The generated protobuf messages; nothing outside this module speaks them.
#[allow(missing_docs, unreachable_pub, reason = "generated; the schema file is their documentation")]
mod wire {
    include!(concat!(env!("OUT_DIR"), "/flashsale.counts.v1.rs"));
}

/// Offers in one record, at most: so many of the largest fit the log's bound.
pub const OFFERS_MAX: usize = 512;
/// Steps that a reader keeps, those of newer programs too.
const STEPS_MAX: usize = 64;
/// Bytes of one count and of an offer's names, at most.
const _: () = assert!(OFFERS_MAX * (Step::OF_ENGINE * 5 + 32) <= 96 * 1024);

macro_rules! steps {
    ($($(#[$docs:meta])* $variant:ident = $name:literal;)*) => {
        /// A step of the way of a purchase. Its number is its place in records and rows, for ever.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Step {
            $($(#[$docs])* $variant,)*
        }

        impl Step {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name; of a refusal, the code that the buyer gets.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

steps! {
    /// A purchase of the offer came, with a good token of its shop.
    Arrived = "arrived";
    /// It passed admission.
    Admitted = "admitted";
    /// It was a known one, and got its first order.
    Repeated = "repeated";
    /// The lane promised its units.
    Reserved = "reserved";
    /// Units of those promises.
    ReservedUnits = "reserved_units";
    /// The token's subject is of another kind than the sale counts.
    WrongSubject = "wrong_subject";
    /// Not a member.
    MembersOnly = "members_only";
    /// Too early.
    NotStarted = "not_started";
    /// Stopped for now.
    Paused = "paused";
    /// Too late.
    Ended = "ended";
    /// Too few units were left.
    SoldOut = "sold_out";
    /// The buyer's limit.
    LimitReached = "limit_reached";
    /// A known key with another quantity.
    Mismatch = "idempotency_mismatch";
    /// An empty bucket.
    RateLimited = "rate_limited";
    /// No room.
    Overloaded = "overloaded";
    /// The lane was closed.
    LaneClosed = "temporarily_unavailable";
    /// Nobody knows: it may be promised.
    OutcomeUnknown = "outcome_unknown";
    /// The buyer expected another price.
    PriceChanged = "price_changed";
    /// Units of accepted orders, by the ledger.
    AcceptedUnits = "accepted_units";
    /// Units of paid orders.
    PaidUnits = "paid_units";
    /// Units that came back, by the ledger.
    ReleasedUnits = "released_units";
}

impl Step {
    /// Steps that engines count: the first ones.
    pub const OF_ENGINE: usize = Self::PriceChanged.number() + 1;

    /// Its place.
    pub const fn number(self) -> usize {
        self as usize
    }

    /// Whether it is a refusal.
    pub const fn is_refusal(self) -> bool {
        self.number() >= Self::WrongSubject.number() && self.number() <= Self::PriceChanged.number()
    }
}

/// So many of each step. Those of steps that this program does not know are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts(Vec<u64>);

impl Counts {
    /// Of these values, by the steps' numbers.
    pub fn of(values: impl IntoIterator<Item = u64>) -> Self {
        let mut values: Vec<u64> = values.into_iter().collect();
        let used = values.iter().rposition(|&count| count != 0).map_or(0, |last| last + 1);
        values.truncate(used);
        Self(values)
    }

    /// So many of one step.
    pub fn of_step(step: Step, times: u64) -> Self {
        let mut counts = Self::default();
        counts.add(step, times);
        counts
    }

    /// How many of a step.
    pub fn get(&self, step: Step) -> u64 {
        self.0.get(step.number()).copied().unwrap_or(0)
    }

    /// So many more of a step.
    pub fn add(&mut self, step: Step, times: u64) {
        if times > 0 {
            *self.at(step.number()) += times;
        }
    }

    /// Those of `other` more.
    pub fn merge(&mut self, other: &Self) {
        for (number, &times) in other.0.iter().enumerate() {
            let count = self.at(number);
            *count = count.saturating_add(times);
        }
    }

    /// Whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&count| count == 0)
    }

    /// As rows keep them.
    pub fn pack(&self) -> Bytes {
        let mut out = Vec::new();
        self.0.iter().for_each(|&count| encode_varint(count, &mut out));
        out.into()
    }

    /// What was packed; `None` for damage.
    pub fn unpack(mut packed: &[u8]) -> Option<Self> {
        let mut values = Vec::new();
        while !packed.is_empty() {
            values.push(decode_varint(&mut packed).ok()?);
        }
        (values.len() <= STEPS_MAX).then_some(Self(values))
    }

    fn at(&mut self, number: usize) -> &mut u64 {
        if self.0.len() <= number {
            self.0.resize(number + 1, 0);
        }
        &mut self.0[number]
    }
}

/// What an engine saw of one offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferCounts {
    /// Whose shop.
    pub tenant: TenantId,
    /// The offer's sale.
    pub sale: SaleId,
    /// The offer.
    pub offer: OfferId,
    /// What was seen.
    pub counts: Counts,
}

/// What an engine saw within about a second. Engine and sequence name it: whoever saw both before
/// has counted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineCounts {
    /// Random: another one for each start of an engine; 1 to [`ID_MAX`].
    pub engine: u64,
    /// Counted within the engine, from 1.
    pub sequence: u64,
    /// Since 1970, by the engine's clock.
    pub second: u64,
    /// At most [`OFFERS_MAX`].
    pub offers: Vec<OfferCounts>,
}

impl EngineCounts {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let offers = self.offers.iter().map(|offer| wire::OfferCounts {
            tenant: offer.tenant.number(),
            sale: offer.sale.get(),
            offer: offer.offer.get(),
            counts: offer.counts.0.clone(),
        });
        let Self { engine, sequence, second, .. } = *self;
        wire::Counts { engine, sequence, second, offers: offers.collect() }.encode_to_vec()
    }

    fn from_wire(w: wire::Counts) -> Result<Self, Flawed> {
        let fits = |number: u64| (1..=ID_MAX).contains(&number);
        if !fits(w.engine) || !fits(w.sequence) || w.second > ID_MAX / 1_000 || w.offers.len() > OFFERS_MAX {
            let told = format!("engine {}, sequence {}, second {}", w.engine, w.sequence, w.second);
            return Err(Flawed::Damaged(format!("{told}, {} offers", w.offers.len())));
        }
        let offers = w.offers.into_iter().map(|offer| {
            if offer.counts.len() > STEPS_MAX || offer.counts.iter().any(|&count| count > ID_MAX) {
                return Err(Flawed::Damaged(format!("counts of offer {}", offer.offer)));
            }
            Ok(OfferCounts {
                tenant: tenant_id(offer.tenant)?,
                sale: SaleId::new(offer.sale)?,
                offer: OfferId::new(offer.offer)?,
                counts: Counts::of(offer.counts),
            })
        });
        let offers = offers.collect::<Result<_, _>>()?;
        Ok(Self { engine: w.engine, sequence: w.sequence, second: w.second, offers })
    }
}

/// Reads a record of the topic `counts`.
///
/// # Errors
/// [`RecordError::UnknownType`] for a type of a newer program, [`RecordError::Malformed`] for
/// damage.
pub fn decode_counts(kind: &str, payload: Bytes) -> Result<EngineCounts, RecordError> {
    if kind != COUNTS_TYPE {
        return Err(RecordError::UnknownType(kind.into()));
    }
    checked(COUNTS_TYPE, payload, EngineCounts::from_wire)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_their_places_and_names_for_ever() {
        let names: Vec<_> = Step::ALL.iter().map(|step| step.name()).collect();
        let published = "arrived admitted repeated reserved reserved_units wrong_subject members_only not_started \
                         paused ended sold_out limit_reached idempotency_mismatch rate_limited overloaded \
                         temporarily_unavailable outcome_unknown price_changed accepted_units paid_units released_units";
        assert_eq!(names.join(" "), published);
        assert!(Step::ALL.iter().enumerate().all(|(at, step)| step.number() == at));
        assert_eq!(Step::ALL.iter().filter(|step| step.is_refusal()).count(), 13);
    }

    #[test]
    fn counts_are_packed_as_they_are_and_damage_is_seen() {
        let mut counts = Counts::of_step(Step::SoldOut, 300);
        counts.add(Step::Arrived, u64::MAX);
        counts.merge(&Counts::of([1, 0, 0, 7, 0, 0]));
        assert_eq!((counts.get(Step::Arrived), counts.get(Step::Reserved)), (u64::MAX, 7));
        assert_eq!(Counts::unpack(&counts.pack()).as_ref(), Some(&counts));
        assert_eq!(Counts::unpack(&[]), Some(Counts::default()));
        assert_eq!(Counts::unpack(&[0x80]), None);
        let newer = Counts::of((0..40).map(|number| number + 1));
        assert_eq!(Counts::unpack(&newer.pack()), Some(newer), "steps of a newer program stay");
        assert!(Counts::of([0, 0]).is_empty() && Counts::of([0, 0]) == Counts::default());
    }

    #[test]
    fn values_that_no_engine_produces_condemn_the_record() {
        let sound = || EngineCounts {
            engine: ID_MAX,
            sequence: 1,
            second: 1_800_000_000,
            offers: vec![OfferCounts {
                tenant: TenantId::new(1).unwrap(),
                sale: SaleId::new(2).unwrap(),
                offer: OfferId::new(3).unwrap(),
                counts: Counts::of([1, 2]),
            }],
        };
        let read = |record: &EngineCounts| decode_counts(COUNTS_TYPE, record.encode().into());
        assert_eq!(read(&sound()), Ok(sound()));
        let harms: [fn(&mut EngineCounts); 6] = [
            |record| record.engine = 0,
            |record| record.sequence = 0,
            |record| record.second = u64::MAX,
            |record| record.offers = vec![record.offers[0].clone(); OFFERS_MAX + 1],
            |record| record.offers[0].counts = Counts::of([u64::MAX]),
            |record| record.offers[0].counts = Counts::of([1; STEPS_MAX + 1]),
        ];
        for (at, harm) in harms.into_iter().enumerate() {
            let mut harmed = sound();
            harm(&mut harmed);
            assert!(matches!(read(&harmed), Err(RecordError::Malformed { .. })), "harm {at}");
        }
    }
}
