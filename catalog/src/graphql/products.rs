//! Products, their SKUs, and what there is of these.

use std::sync::Arc;

use async_graphql::{ComplexObject, Context, ID, Json, SimpleObject};
use kit::{
    access::Permission::{ReadProducts, ReadStock},
    http::PageAsked,
};
use serde::Deserialize;
use store::sql::stored;

use super::{
    asking::{Asking, Field, Paged, Thing, Together, Whole, field, page},
    stock::StockLevel,
};
use crate::{
    products::{ProductState, SkuState, sku},
    refused::Refused,
    stock::shown,
};

/// A product.
#[derive(SimpleObject, Deserialize)]
#[graphql(complex)]
pub(super) struct Product {
    /// Its number.
    id: ID,
    /// The merchant's own code.
    code: String,
    title: String,
    description: String,
    state: ProductState,
    attributes: Vec<Attribute>,
    /// The SHA-256 of one that was uploaded, or a URL.
    images: Vec<String>,
    /// The tenant's own fields.
    fields: Json<serde_json::Map<String, serde_json::Value>>,
    /// Rises with each change.
    version: u64,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339.
    updated_at: String,
    #[graphql(skip)]
    #[serde(skip)]
    together: Arc<Together<PageAsked, Arc<Paged<Sku>>>>,
}

/// What is sold of a product.
#[derive(SimpleObject, Deserialize)]
#[graphql(complex)]
pub(super) struct Sku {
    /// Its number.
    id: ID,
    /// The number of its product.
    #[graphql(name = "productId")]
    product: ID,
    /// The merchant's own code.
    code: String,
    price: Price,
    /// Empty where there is none.
    barcode: String,
    /// In grams; 0 where it is not known.
    weight_g: Whole,
    state: SkuState,
    attributes: Vec<Attribute>,
    /// The SHA-256 of one that was uploaded, or a URL.
    images: Vec<String>,
    /// Whether it was ever stocked or sold.
    used: bool,
    /// Rises with each change.
    version: u64,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339.
    updated_at: String,
    #[graphql(skip)]
    #[serde(skip)]
    together: Arc<Together<PageAsked, Arc<Paged<StockLevel>>>>,
}

/// A property by name: colour, size.
#[derive(SimpleObject, Deserialize)]
struct Attribute {
    name: String,
    value: String,
}

/// An amount of money.
#[derive(Clone, SimpleObject, Deserialize)]
pub(super) struct Price {
    /// In minor units.
    amount: Whole,
    /// A code of ISO 4217.
    currency: String,
}

impl Thing for Product {
    fn read_together(things: Vec<&mut Self>) {
        let together = Together::of(things.iter().map(|product| &product.id));
        things.into_iter().for_each(|product| product.together = Arc::clone(&together));
    }
}

impl Thing for Sku {
    fn read_together(things: Vec<&mut Self>) {
        let together = Together::of(things.iter().map(|sku| &sku.id));
        things.into_iter().for_each(|sku| sku.together = Arc::clone(&together));
    }
}

#[ComplexObject]
impl Product {
    /// Its SKUs, by number.
    async fn skus(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20, desc = "1 to 100.")] first: u32,
        #[graphql(desc = "`nextCursor` of the page before.")] after: Option<String>,
    ) -> Field<Arc<Paged<Sku>>> {
        field(async {
            let (asking, asked) = (Asking::of(ctx, ReadProducts)?, &page(first, after)?);
            let read = |products| async move {
                let skus = sku::of_products(asking.db(), asking.tenant(), products, asked).await?;
                Ok(Paged::of_each(products, &skus)?)
            };
            self.together.belonging(&self.id, asked.clone(), read).await
        })
        .await
    }
}

#[ComplexObject]
impl Sku {
    /// What there is of it, by warehouse.
    async fn stock(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20, desc = "1 to 100.")] first: u32,
        #[graphql(desc = "`nextCursor` of the page before.")] after: Option<String>,
    ) -> Field<Arc<Paged<StockLevel>>> {
        field(async {
            let (asking, asked) = (Asking::of(ctx, ReadStock)?, &page(first, after)?);
            let of = (asking.tenant(), stored(asking.now_ms).map_err(Refused::from)?);
            let read = |skus| async move {
                let levels = shown::of_skus(asking.db(), of, skus, asked).await?;
                Ok(Paged::of_each(skus, &levels)?)
            };
            self.together.belonging(&self.id, asked.clone(), read).await
        })
        .await
    }
}
