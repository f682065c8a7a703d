//! How much may be asked: token buckets of offers, tenants and buyers, and the permits of purchases
//! under way. They count and know no rule of a sale.

mod buckets;
mod permits;

pub use buckets::{BUYERS_MAX, Bucket, BuyerBuckets, Limited, Ticks};
pub use permits::{Permit, Permits, TenantShare};
