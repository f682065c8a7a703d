//! Where a query begins: what the routes of the same names list and show.

use async_graphql::{Context, ID, Object};
use kit::access::Permission::{ReadOrders, ReadProducts, ReadSales, ReadStock};
use store::sql::stored;

use super::{
    asking::{Asking, Field, Paged, Thing as _, field, number, page},
    orders::{self, Order, OrderFilter},
    products::{Product, Sku},
    sales::Sale,
    stock::{StockLevel, Warehouse},
};
use crate::{
    products::{ProductState, product, sku},
    refused::Refused,
    sales,
    stock::{shown, warehouses},
};

/// The root of all queries.
pub(super) struct Query;

/// Where a query begins. A list has pages: `first` things, 1 to 100, after the `nextCursor` of the
/// page before. Each field needs the permission of the route that shows the same.
#[Object]
impl Query {
    /// A product. Needs `read_products`.
    async fn product(&self, ctx: &Context<'_>, id: ID) -> Field<Product> {
        field(async {
            let (asking, Some(id)) = (Asking::of(ctx, ReadProducts)?, number(&id)) else { return Ok(None) };
            let found = product::find(asking.db(), asking.tenant(), id).await.map_err(Refused::from)?;
            Ok(found.as_ref().map(Product::of).transpose()?)
        })
        .await
    }

    /// Products by number. Needs `read_products`.
    async fn products(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20, desc = "1 to 100.")] first: u32,
        #[graphql(desc = "`nextCursor` of the page before.")] after: Option<String>,
        #[graphql(desc = "The one with this code.")] code: Option<String>,
        #[graphql(desc = "Those in this state.")] state: Option<ProductState>,
    ) -> Field<Paged<Product>> {
        field(async {
            let (asking, asked) = (Asking::of(ctx, ReadProducts)?, page(first, after)?);
            let filter = (code.as_deref(), state.map(ProductState::as_str));
            let found = product::page(asking.db(), asking.tenant(), filter, &asked).await?;
            Ok(Some(Paged::of(&found)?))
        })
        .await
    }

    /// A SKU. Needs `read_products`.
    async fn sku(&self, ctx: &Context<'_>, id: ID) -> Field<Sku> {
        field(async {
            let (asking, Some(id)) = (Asking::of(ctx, ReadProducts)?, number(&id)) else { return Ok(None) };
            let found = sku::find(asking.db(), asking.tenant(), id).await.map_err(Refused::from)?;
            Ok(found.as_ref().map(Sku::of).transpose()?)
        })
        .await
    }

    /// SKUs by number. Needs `read_products`.
    async fn skus(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20, desc = "1 to 100.")] first: u32,
        #[graphql(desc = "`nextCursor` of the page before.")] after: Option<String>,
        #[graphql(desc = "The one with this code.")] code: Option<String>,
    ) -> Field<Paged<Sku>> {
        field(async {
            let (asking, asked) = (Asking::of(ctx, ReadProducts)?, page(first, after)?);
            let filter = code.as_deref().map(|code| ("code", code.into()));
            let found = sku::page(asking.db(), asking.tenant(), filter, &asked).await?;
            Ok(Some(Paged::of(&found)?))
        })
        .await
    }

    /// What there is, by SKU and warehouse. Needs `read_stock`.
    async fn stock(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20, desc = "1 to 100.")] first: u32,
        #[graphql(desc = "`nextCursor` of the page before.")] after: Option<String>,
        #[graphql(desc = "The code of a SKU.")] sku: Option<String>,
        #[graphql(desc = "The code of a warehouse.")] warehouse: Option<String>,
        #[graphql(desc = "Below its threshold, or not.")] low: Option<bool>,
    ) -> Field<Paged<StockLevel>> {
        field(async {
            let (asking, asked) = (Asking::of(ctx, ReadStock)?, page(first, after)?);
            let wanted = shown::Wanted { sku: sku.as_deref(), warehouse: warehouse.as_deref(), low };
            let of = (asking.tenant(), stored(asking.now_ms).map_err(Refused::from)?);
            Ok(Some(Paged::of(&shown::page(asking.db(), of, wanted, &asked).await?)?))
        })
        .await
    }

    /// Warehouses by number. Needs `read_stock`.
    async fn warehouses(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20, desc = "1 to 100.")] first: u32,
        #[graphql(desc = "`nextCursor` of the page before.")] after: Option<String>,
    ) -> Field<Paged<Warehouse>> {
        field(async {
            let (asking, asked) = (Asking::of(ctx, ReadStock)?, page(first, after)?);
            Ok(Some(Paged::of(&warehouses::page(asking.db(), asking.tenant(), &asked).await?)?))
        })
        .await
    }

    /// A sale. Needs `read_sales`.
    async fn sale(&self, ctx: &Context<'_>, id: ID) -> Field<Sale> {
        field(async {
            let (asking, Some(id)) = (Asking::of(ctx, ReadSales)?, number(&id)) else { return Ok(None) };
            let found = sales::find(asking.db(), (asking.tenant(), asking.now_ms), id).await?;
            Ok(found.as_ref().map(Sale::of).transpose()?)
        })
        .await
    }

    /// Sales by number. Needs `read_sales`.
    async fn sales(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20, desc = "1 to 100.")] first: u32,
        #[graphql(desc = "`nextCursor` of the page before.")] after: Option<String>,
        #[graphql(desc = "The one with this code.")] code: Option<String>,
    ) -> Field<Paged<Sale>> {
        field(async {
            let (asking, asked) = (Asking::of(ctx, ReadSales)?, page(first, after)?);
            let of = (asking.tenant(), asking.now_ms);
            Ok(Some(Paged::of(&sales::page(asking.db(), of, code.as_deref(), &asked).await?)?))
        })
        .await
    }

    /// Orders, newest first: an order is listed some two seconds after it was decided. A page may
    /// hold less than `first` and still have a next one. Needs `read_orders`.
    async fn orders(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20, desc = "1 to 100.")] first: u32,
        #[graphql(desc = "`nextCursor` of the page before.")] after: Option<String>,
        #[graphql(desc = "Those that fit.")] filter: Option<OrderFilter>,
    ) -> Field<Paged<Order>> {
        field(async {
            let (asking, asked) = (Asking::of(ctx, ReadOrders)?, page(first, after)?);
            Ok(Some(orders::page(asking, filter.unwrap_or_default(), asked).await?))
        })
        .await
    }
}
