//! What pages see of the directory.

use std::sync::Arc;

use domain::{
    id::{SaleId, TenantId},
    sale::{Lane, Offer, Sale},
};
use pages::{
    sales::{Sales, Shown},
    stock::StockSeen,
};

use crate::sales::{Directory, Promotion};

impl Shown for Promotion {
    fn sale(&self) -> &Sale {
        &self.sale
    }

    fn is_retired(&self) -> bool {
        self.offers.iter().all(|offered| offered.lane.is_retired(self.sale.window))
    }

    fn offers(&self) -> impl Iterator<Item = (&Lane, &Offer, &Arc<StockSeen>)> + Send {
        self.offered().map(|(lane, offer, offered)| (lane, offer, &offered.stock))
    }
}

impl Sales for Directory {
    type Shown = Promotion;

    /// An engine serves nobody before it has read them.
    fn is_whole(&self) -> bool {
        true
    }

    fn sale(&self, id: SaleId) -> Option<Arc<Promotion>> {
        self.now().sale(id).map(Arc::clone)
    }

    fn of_tenant(&self, tenant: TenantId) -> Vec<Arc<Promotion>> {
        self.now().of_tenant(tenant).to_vec()
    }

    fn edition(&self) -> u64 {
        Self::edition(self)
    }
}
