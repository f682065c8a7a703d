//! The buyers' entries. Almost every buyer has one purchase in a lane. It stands in a block that
//! never moves, found by an index of twelve bytes a buyer: a million buyers cost about seventy
//! bytes each, and no call waits while one large table grows.

use std::{collections::BTreeMap, fmt, num::NonZeroU16};

use super::Purchase;
use crate::id::BuyerId;

/// Purchases of one block.
const BLOCK: usize = 4_096;

/// Where a buyer's only purchase stands.
#[derive(Clone, Copy)]
struct Place {
    /// Blocks count from 1, so that "nowhere" takes no room of its own.
    block: NonZeroU16,
    at: u16,
}

/// Every buyer with an entry. Two are equal if they hold the same, wherever it stands.
#[derive(Clone, Default)]
pub(super) struct Buyers {
    /// `None`: in `several`.
    places: BTreeMap<BuyerId, Option<Place>>,
    blocks: Vec<Vec<Purchase>>,
    /// Places in the blocks that were left.
    free: Vec<Place>,
    /// Those who had a second purchase, or for whom no block had room.
    several: BTreeMap<BuyerId, Vec<Purchase>>,
}

impl Buyers {
    /// After many buyers came: an index that grew in ascending order is half empty; made in one go
    /// it is full.
    pub(super) fn compact(&mut self) {
        self.places = std::mem::take(&mut self.places).into_iter().collect();
    }

    /// Takes a buyer's entry away; `false` if there is none.
    pub(super) fn forget(&mut self, buyer: BuyerId) -> bool {
        match self.places.remove(&buyer) {
            None => return false,
            Some(None) => drop(self.several.remove(&buyer)),
            Some(Some(place)) => self.free.push(place),
        }
        true
    }

    /// Buyers with an entry.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Every entry, by buyer.
    pub(super) fn iter(&self) -> impl Iterator<Item = (BuyerId, &[Purchase])> {
        self.places.iter().map(|(&buyer, &place)| (buyer, self.entry(buyer, place)))
    }

    /// A buyer's purchases, in the order they came.
    pub(super) fn of(&self, buyer: BuyerId) -> &[Purchase] {
        self.places.get(&buyer).map_or(&[], |&place| self.entry(buyer, place))
    }

    fn entry(&self, buyer: BuyerId, place: Option<Place>) -> &[Purchase] {
        let Some(Place { block, at }) = place else {
            return self.several.get(&buyer).map_or(&[], Vec::as_slice);
        };
        let block = usize::from(block.get()).checked_sub(1).and_then(|block| self.blocks.get(block));
        block.and_then(|block| block.get(usize::from(at))).map_or(&[], std::slice::from_ref)
    }

    /// The same, to be changed.
    pub(super) fn of_mut(&mut self, buyer: BuyerId) -> &mut [Purchase] {
        match self.places.get(&buyer).copied() {
            None => &mut [],
            Some(None) => self.several.get_mut(&buyer).map_or(&mut [], Vec::as_mut_slice),
            Some(Some(place)) => self.standing(place).map_or(&mut [], std::slice::from_mut),
        }
    }

    fn standing(&mut self, place: Place) -> Option<&mut Purchase> {
        let block = usize::from(place.block.get()).checked_sub(1)?;
        self.blocks.get_mut(block)?.get_mut(usize::from(place.at))
    }

    /// One more purchase of a buyer.
    pub(super) fn push(&mut self, buyer: BuyerId, purchase: Purchase) {
        match self.places.get(&buyer).copied() {
            None => {
                let place = self.stand(purchase);
                if place.is_none() {
                    self.several.insert(buyer, vec![purchase]);
                }
                self.places.insert(buyer, place);
            }
            Some(None) => self.several.entry(buyer).or_default().push(purchase),
            Some(Some(place)) => {
                let first = self.standing(place).copied();
                self.free.push(place);
                self.several.insert(buyer, first.into_iter().chain([purchase]).collect());
                self.places.insert(buyer, None);
            }
        }
    }

    /// A place for a purchase; `None` when every block that can be named is full.
    fn stand(&mut self, purchase: Purchase) -> Option<Place> {
        if let Some(place) = self.free.pop() {
            *self.standing(place)? = purchase;
            return Some(place);
        }
        let has_room = self.blocks.last().is_some_and(|block| block.len() < BLOCK);
        if !has_room && self.blocks.len() < usize::from(u16::MAX) {
            self.blocks.push(Vec::new());
        }
        let number = u16::try_from(self.blocks.len()).ok().and_then(NonZeroU16::new)?;
        let last = self.blocks.last_mut().filter(|block| block.len() < BLOCK)?;
        let at = u16::try_from(last.len()).ok()?;
        last.push(purchase);
        Some(Place { block: number, at })
    }

    /// Takes the purchase at this index of [`of`](Self::of) away, and the buyer with the last one.
    pub(super) fn remove(&mut self, buyer: BuyerId, index: usize) {
        match self.places.get(&buyer).copied() {
            Some(Some(place)) if index == 0 => {
                self.free.push(place);
                self.places.remove(&buyer);
            }
            Some(None) => {
                let Some(purchases) = self.several.get_mut(&buyer).filter(|some| index < some.len()) else { return };
                purchases.remove(index);
                if purchases.is_empty() {
                    self.several.remove(&buyer);
                    self.places.remove(&buyer);
                }
            }
            _ => {}
        }
    }
}

impl PartialEq for Buyers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Buyers {}

impl fmt::Debug for Buyers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{KeyHash, OfferId, OrderId, PurchaseNumber};

    fn buyer(n: u64) -> BuyerId {
        BuyerId::new(n).unwrap()
    }

    fn purchase(n: u64) -> Purchase {
        Purchase {
            order: OrderId::new(n).unwrap(),
            offer: OfferId::new(1).unwrap(),
            quantity: 1,
            number: Some(PurchaseNumber(1)),
            key: KeyHash([1; 16]),
            batch: None,
        }
    }

    /// INV-4: entries are what came and was not taken away, in order, whatever places are left and
    /// taken again. (A plain map is the measure.)
    #[test]
    fn entries_are_as_a_plain_map_has_them() {
        let (mut buyers, mut plain) = (Buyers::default(), BTreeMap::<BuyerId, Vec<Purchase>>::new());
        let mut bits = 1_u64;
        let mut below = |end: u64| {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (bits >> 33).checked_rem(end).unwrap()
        };
        for step in 1..60_000 {
            let who = buyer(below(30_000) + 1);
            if below(5) < 3 {
                buyers.push(who, purchase(step));
                plain.entry(who).or_default().push(purchase(step));
            } else {
                let index = usize::try_from(below(2)).unwrap();
                buyers.remove(who, index);
                if let Some(purchases) = plain.get_mut(&who).filter(|purchases| index < purchases.len()) {
                    purchases.remove(index);
                    if purchases.is_empty() {
                        plain.remove(&who);
                    }
                }
            }
            let expected = plain.get(&who).map_or(&[][..], Vec::as_slice);
            assert_eq!(buyers.of(who), expected, "step {step}");
            assert_eq!(buyers.of_mut(who), expected, "step {step}");
        }
        assert!(buyers.iter().eq(plain.iter().map(|(&buyer, purchases)| (buyer, purchases.as_slice()))));
        assert!(buyers.blocks.len() > 1 && !buyers.several.is_empty() && buyers.len() == plain.len());
        let flat: Vec<_> = buyers.iter().flat_map(|(who, some)| some.iter().map(move |one| (who, *one))).collect();
        let mut loaded = Buyers::default();
        flat.iter().for_each(|&(buyer, purchase)| loaded.push(buyer, purchase));
        loaded.compact();
        assert_eq!(loaded, buyers, "a load brings the same, elsewhere");
        let (gone, _) = flat[0];
        assert!(loaded.forget(gone) && !loaded.forget(gone) && loaded.of(gone).is_empty());
        flat.iter().filter(|(buyer, _)| *buyer == gone).for_each(|&(buyer, purchase)| loaded.push(buyer, purchase));
        assert_eq!(loaded, buyers, "its entry is put in place again");
    }

    /// What a buyer costs: twelve bytes in the index and one purchase.
    #[test]
    fn a_place_is_small_and_so_is_a_purchase() {
        assert_eq!((size_of::<Option<Place>>(), size_of::<Purchase>()), (4, 48));
    }
}
