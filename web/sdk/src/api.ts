// Written by `npm run types` from engine/openapi.json and catalog/openapi.json: not to be edited.

export interface paths {
    "/v1/orders": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * My orders.
         * @description A buyer's own orders of this shop, newest first. An order is listed once it has its row.
         *     `live_in_sale` leaves those that take units of one sale: with `limit_reached` they stand in the
         *     way. One that is `pending_payment` is paid by `POST /v1/orders/{order_id}/pay`.
         */
        get: operations["listOrders"];
        put?: never;
        /**
         * Buy.
         * @description Promises units of an offer, at once or not at all. The same Idempotency-Key of the same buyer
         *     and offer gets the same order at any time, whether the sale is open or not, and what became of
         *     it; another quantity under it is refused.
         */
        post: operations["buy"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orders/{order_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** An order's status. */
        get: operations["getOrder"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sales": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The sales of a shop.
         * @description Public: those that may be seen now. The open ones come first, then those to come, then those
         *     that ended in the last seven days. State by the server's clock, stock only roughly and at most
         *     five seconds old.
         */
        get: operations["listSales"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sales/{sale_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A sale.
         * @description Public. State by the server's clock, stock only roughly; right within a second. Nothing in it
         *     changes without a new ETag: the clock is `/v1/time`.
         */
        get: operations["getSale"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/time": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The server's clock. */
        get: operations["getTime"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/branding/{shop}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How a shop looks, for its pages: found by its domain, or by its tenant's code. */
        get: operations["public_branding"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/buyer-sessions/phone": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Logs a buyer in by the code that was sent to his phone.
         * @description A code is good for one use: where no answer came, ask for another one.
         */
        post: operations["phone_login"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/buyer-sessions/wechat": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Logs a buyer in by WeChat.
         * @description A code is good for one use: where no answer came, get another code.
         */
        post: operations["wechat_login"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/images/{hash}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** An image, for everybody who has its hash. */
        get: operations["image"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/phone-codes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sends a code to a phone.
         * @description One a minute and ten a day for a number. Another one takes the place of the one before.
         */
        post: operations["phone_codes"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description How a shop looks. */
        Branding: {
            colours: components["schemas"]["BrandingColour"][];
            domain?: string;
            logo_image?: string;
            logo_url?: string;
            name: string;
            /** @description The tenant's code. */
            tenant: string;
            texts: components["schemas"]["BrandingText"][];
            /**
             * Format: int64
             * @description Of the tenant, which has its branding; rises with each change of it; also the ETag. Missing
             *     on the public route.
             */
            version?: number;
        };
        /** @description A colour with the name of its use. */
        BrandingColour: {
            /** @description Where the shop's pages use it: `primary`. */
            name: string;
            value: string;
        };
        /** @description A text with the name of its place. */
        BrandingText: {
            /** @description Where the shop's pages show it: `footer`. */
            name: string;
            value: string;
        };
        /** @description A refusal or fault (RFC 9457): the members of a problem, in the order they are sent. */
        Problem: {
            /**
             * @description For programs; stable.
             * @example sold_out
             */
            code: string;
            /** @description Of a stale write: what is there now, as its route shows it. */
            current?: Record<string, never>;
            /** @description For people; of this occurrence. */
            detail: string;
            /** @description What is wrong with the input, field by field. */
            errors?: components["schemas"]["FieldError"][];
            /** @description Of `limit_reached`: where the caller's own live orders of the sale are, as a path. */
            orders?: string;
            /**
             * Format: int32
             * @description The HTTP status.
             */
            status: number;
            /** @description The same for every occurrence of the code. */
            title: string;
            /** @description The request's trace, also in the header `traceparent`. */
            trace_id?: string;
            /** @description `urn:flashsale:problem:` and the code. */
            type: string;
        };
        /** @description One thing that is wrong with one field of the input. */
        FieldError: {
            /**
             * @description Which: a member of the body or a path such as `items[0].quantity`, a parameter of the query,
             *     or a header.
             */
            field: string;
            /** @description What is wrong, and what would be right. */
            message: string;
        };
        /** @description Who logs in. */
        PhoneLogin: {
            /** @description The code that came. */
            code: string;
            /**
             * @description What the number counts as.
             * @enum {string}
             */
            limit_by?: "account" | "phone";
            /** @description As E.164 writes it. */
            phone: string;
            /** @description The shop's code. */
            tenant: string;
        };
        /** @description A buyer who is logged in. */
        BuyerSession: {
            /** @description The buyer's number, as a decimal string. */
            buyer: string;
            /** @description When it ends, RFC 3339. */
            expires_at: string;
            /** @description For the buyer's surface. */
            token: string;
        };
        /** @description Who logs in. */
        WechatLogin: {
            /**
             * @description Where the code comes from.
             * @enum {string}
             */
            app?: "mini_program" | "page";
            /** @description What WeChat gave; good for one use. */
            code: string;
            /** @description The shop's code. */
            tenant: string;
        };
        /** @description Where a code is sent. */
        PhoneCodeWanted: {
            /** @description As E.164 writes it. */
            phone: string;
            /** @description The shop's code. */
            tenant: string;
        };
        /** @description A code is on its way. */
        PhoneCodeSent: {
            /** @description Until when it is good, RFC 3339. */
            expires_at: string;
        };
        /** @description A page of a buyer's orders, newest first. */
        OrderPage: {
            /** @description For the next page, to be given back as it is; absent on the last. */
            next_cursor?: string;
            /** @description The orders. */
            orders: components["schemas"]["Order"][];
        };
        /** @description An order as its buyer sees it. */
        Order: {
            /** @description What the purchase carried, as it was sent; absent while the status is `pending`. */
            context?: Record<string, never>;
            /** @description The offer. */
            offer_id: string;
            /**
             * @description Its id.
             * @example 249300234895360
             */
            order_id: string;
            /** @description When it is to be paid at the latest, RFC 3339, UTC; of an order that is `pending_payment`. */
            pay_by?: string;
            /**
             * Format: int32
             * @description Units.
             */
            quantity: number;
            /**
             * @description Why it was rejected: `superseded`, `limit`, `stock`, or `foreign` (the lane belongs to
             *     another sale).
             */
            reason?: string;
            /** @description RFC 3339, UTC. */
            reserved_at: string;
            /** @description The sale. */
            sale_id: string;
            /** @description What is sold; absent while the status is `pending`, as prices are. */
            sku_id?: string;
            /**
             * @description `pending`, `pending_payment`, `paid`, `fulfilled`, `completed`, `cancelled`, `expired`,
             *     `rejected`, `refunding` or `refunded`.
             * @example pending_payment
             */
            status: string;
            /** @description Of all. */
            total?: components["schemas"]["Price"];
            /** @description Of one unit, as it was at the purchase. */
            unit_price?: components["schemas"]["Price"];
        };
        /** @description An amount of money. */
        Price: {
            /**
             * Format: int64
             * @description Minor units by ISO 4217: 9900 is 99.00 CNY, 9900 JPY, 9.900 KWD. At most 2^53 - 1, also in
             *     totals.
             * @example 9900
             */
            amount: number;
            /**
             * @description An active code of ISO 4217.
             * @example CNY
             */
            currency: string;
        };
        /** @description A purchase. Strict: no other members, each at most once. */
        PurchaseRequest: {
            /**
             * @description An object of at most 256 bytes as sent: address id, referral touch, coupon. Kept with the
             *     order.
             */
            context?: Record<string, never>;
            /** @description The price of one unit that the buyer saw: at another one nothing is bought. */
            expected_price?: components["schemas"]["ExpectedPrice"];
            /**
             * @description What.
             * @example 9001
             */
            offer_id: string;
            /**
             * Format: int32
             * @description How many units.
             * @example 1
             */
            quantity: number;
        };
        /** @description A price as a buyer saw it. */
        ExpectedPrice: {
            /**
             * Format: int64
             * @description Of one unit, in minor units.
             * @example 9900
             */
            amount: number;
            /** @example CNY */
            currency: string;
        };
        /** @description A promised order. */
        Bought: {
            /**
             * @description Its id; of a repeated key, that of the first order.
             * @example 249300234895360
             */
            order_id: string;
            /**
             * @description `accepted`: the order log holds it. `pending`: promised, and not yet confirmed by the log;
             *     ask for its status. Of a repeated key whose order is over, its status: `cancelled`,
             *     `expired`, `rejected`, `refunding` or `refunded`.
             * @example accepted
             */
            status: string;
        };
        /**
         * @description A page of a tenant's sales: those that are open, then those to come, then those that ended
         *     lately.
         */
        SaleList: {
            /** @description For the next page, to be given back as it is; absent on the last. */
            next_cursor?: string;
            /** @description The sales. */
            sales: components["schemas"]["ListedSale"][];
        };
        /** @description A sale in a list. */
        ListedSale: {
            /** @description RFC 3339, UTC. */
            closes_at: string;
            /** @description RFC 3339, UTC. */
            opens_at: string;
            /** @description The lowest price of one unit; absent where its offers have several currencies. */
            price_from?: components["schemas"]["Price"];
            /** @description The highest. */
            price_to?: components["schemas"]["Price"];
            /**
             * @description Its id.
             * @example 1001
             */
            sale_id: string;
            /**
             * @description `not_started`, `open`, `paused` or `ended`, by the server's clock.
             * @example open
             */
            state: string;
            /**
             * @description While it is open: `available`, `low` or `sold_out`, the best of its offers, a few seconds
             *     old; absent while nobody knows.
             * @example available
             */
            stock?: string;
            /** @description For people. */
            title: string;
        };
        /** @description A sale as the public sees it. */
        Sale: {
            /**
             * Format: int32
             * @description Days in which an order may be returned; absent: as the law has it.
             */
            after_sale_days?: number;
            /** @description RFC 3339, UTC. */
            closes_at: string;
            /**
             * @description How what was bought comes to the buyer, `pickup` or `code`; absent: in parcels.
             * @example pickup
             */
            fulfilment?: string;
            /**
             * @description What its limits count, `phone` or `id_hash`: only tokens of that kind buy. Absent: accounts.
             * @example phone
             */
            limit_by?: string;
            /** @description Whether it sells to members alone; absent: to everybody. */
            members_only?: boolean;
            /** @description What it offers. */
            offers: components["schemas"]["Offer"][];
            /** @description RFC 3339, UTC. */
            opens_at: string;
            /**
             * Format: int32
             * @description Seconds that a buyer has to pay; absent: as the shop usually gives.
             */
            payment_window_s?: number;
            /**
             * @description Its id.
             * @example 1001
             */
            sale_id: string;
            /**
             * @description `not_started`, `open`, `paused` or `ended`, by the server's clock.
             * @example open
             */
            state: string;
            /** @description For people. */
            title: string;
            /**
             * Format: int32
             * @description Raised by each publication.
             */
            version: number;
        };
        /** @description An offer as the public sees it. */
        Offer: {
            /**
             * Format: int32
             * @description Units one buyer may hold, of this offer and those that share its limit.
             */
            limit_per_buyer: number;
            /**
             * @description Its id, for `POST /v1/orders`.
             * @example 9001
             */
            offer_id: string;
            /** @description Stopped by the merchant for now, by itself; absent: it is not. */
            paused?: boolean;
            /** @description Of one unit. */
            price: components["schemas"]["Price"];
            /** @description What is sold. */
            sku_id: string;
            /**
             * @description `available`, `low` or `sold_out`, at most a second old; absent while nobody knows, as before
             *     the offer's stock is opened.
             * @example available
             */
            stock?: string;
            /** @description For people. */
            title: string;
        };
        /** @description The server's clock. */
        Time: {
            /**
             * Format: int64
             * @description The same in milliseconds since 1970.
             */
            epoch_ms: number;
            /**
             * @description RFC 3339, UTC.
             * @example 2026-11-11T12:00:00.000Z
             */
            server_time: string;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    listOrders: {
        parameters: {
            query?: {
                /** @description `next_cursor` of the page before, as it came: opaque, and its receiver's alone. */
                cursor?: string;
                /** @description Items of the page. */
                limit?: number;
                /** @description Only those that take units of this sale. */
                live_in_sale?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. */
            200: {
                headers: {
                    "Cache-Control"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OrderPage"];
                };
            };
            /** @description `invalid_request` */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unauthenticated` */
            401: {
                headers: {
                    /** @description RFC 6750: what is wrong with the token that came. */
                    "WWW-Authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `forbidden` */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `rate_limited` */
            429: {
                headers: {
                    /** @description What is left. */
                    RateLimit?: string;
                    /** @description Whose quota it is, and how large. */
                    "RateLimit-Policy"?: string;
                    /** @description Seconds until there is more. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `overloaded`; `temporarily_unavailable` */
            503: {
                headers: {
                    /** @description Seconds until a repeat may do better. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    buy: {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description Names this request: 1 to 255 visible ASCII characters. Between quotes it is the same key; a quoted one holds no quote and no backslash.
                 * @example 8e03978e-40d5-43e8-bc93-6894a57f9324
                 */
                "Idempotency-Key": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PurchaseRequest"];
            };
        };
        responses: {
            /** @description Promised, now or by the first purchase of this key. */
            202: {
                headers: {
                    "Cache-Control"?: string;
                    /** @description Where its status is told. */
                    Location?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Bought"];
                };
            };
            /** @description `invalid_request` */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unauthenticated` */
            401: {
                headers: {
                    /** @description RFC 6750: what is wrong with the token that came. */
                    "WWW-Authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `forbidden`; `wrong_subject`: the sale counts another kind of subject than the token's; `members_only`: the token is no member's */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `not_found`: no such offer */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `price_changed`: the price is another one than expected; the answer shows it. Nothing was bought; `sold_out`; `limit_reached`: `orders` leads to the buyer's own that stand in the way; `not_started`; `ended`; `paused` */
            409: {
                headers: {
                    /** @description Of not_started alone: seconds until the sale opens. */
                    "Retry-After"?: number | null;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `too_large` */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unsupported_media_type`: not JSON, another charset than UTF-8, or a content coding */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `idempotency_mismatch` */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `rate_limited` */
            429: {
                headers: {
                    /** @description What is left. */
                    RateLimit?: string;
                    /** @description Whose quota it is, and how large. */
                    "RateLimit-Policy"?: string;
                    /** @description Seconds until there is more. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `overloaded`: this request did nothing; `temporarily_unavailable`: this request did nothing; `outcome_unknown`: whether it was taken is not known. Never a no: repeat with the same key */
            503: {
                headers: {
                    /** @description Seconds until a repeat may do better. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getOrder: {
        parameters: {
            query?: {
                /** @description The offer: needed until the order has its row. */
                offer_id?: string;
            };
            header?: never;
            path: {
                /** @description From the answer to the purchase. */
                order_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The order. */
            200: {
                headers: {
                    "Cache-Control"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Order"];
                };
            };
            /** @description `invalid_request` */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unauthenticated` */
            401: {
                headers: {
                    /** @description RFC 6750: what is wrong with the token that came. */
                    "WWW-Authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `forbidden` */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `not_found`: none, or none of yours; or lost while pending, before it was written down */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `rate_limited` */
            429: {
                headers: {
                    /** @description What is left. */
                    RateLimit?: string;
                    /** @description Whose quota it is, and how large. */
                    "RateLimit-Policy"?: string;
                    /** @description Seconds until there is more. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `overloaded`; `temporarily_unavailable` */
            503: {
                headers: {
                    /** @description Seconds until a repeat may do better. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    listSales: {
        parameters: {
            query: {
                /**
                 * @description The shop.
                 * @example 7
                 */
                tenant: string;
                /** @description `next_cursor` of the page before, as it came: opaque, and its receiver's alone. */
                cursor?: string;
                /** @description Items of the page. */
                limit?: number;
            };
            header?: {
                /** @description The ETag of an earlier answer. */
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. A shop that nobody knows is one that sells nothing. Also as gzip and br. */
            200: {
                headers: {
                    ETag?: string;
                    Vary?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SaleList"];
                };
            };
            /** @description Unchanged. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `invalid_request` */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `overloaded`; `temporarily_unavailable` */
            503: {
                headers: {
                    /** @description Seconds until a repeat may do better. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getSale: {
        parameters: {
            query?: never;
            header?: {
                /** @description The ETag of an earlier answer. */
                "If-None-Match"?: string;
            };
            path: {
                /**
                 * @description The sale.
                 * @example 1001
                 */
                sale_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The sale. Also as gzip and br. */
            200: {
                headers: {
                    ETag?: string;
                    Vary?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Sale"];
                };
            };
            /** @description Unchanged. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `not_found` */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `overloaded`; `temporarily_unavailable` */
            503: {
                headers: {
                    /** @description Seconds until a repeat may do better. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getTime: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Time"];
                };
            };
        };
    };
    public_branding: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description A host name, or the code of a tenant. */
                shop: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Branding"];
                };
            };
            /** @description As If-None-Match names it. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `invalid_request`: each wrong member or parameter is named */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unauthenticated` */
            401: {
                headers: {
                    /** @description RFC 6750: what is wrong with the token that came. */
                    "WWW-Authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `forbidden`: the permission that is missing is named; or the tenant is suspended; `quota_exceeded`: the tenant's plan allows no more; `current` has quota, limit and what is used */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `not_found`: none, or of another tenant */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `rate_limited` */
            429: {
                headers: {
                    /** @description What is left. */
                    RateLimit?: string;
                    /** @description Whose quota it is, and how large. */
                    "RateLimit-Policy"?: string;
                    /** @description Seconds until there is more. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `internal` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `temporarily_unavailable`: this request did nothing */
            503: {
                headers: {
                    /** @description Seconds until a repeat may do better. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    phone_login: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PhoneLogin"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BuyerSession"];
                };
            };
            /** @description `invalid_request`: each wrong member is named */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unauthenticated`: the code is wrong, used or too old: get another one */
            401: {
                headers: {
                    /** @description RFC 6750: what is wrong with the token that came. */
                    "WWW-Authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `forbidden`: the provider holds this user for a risk */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `not_found`: no such shop, or it has no such login */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `conflict`: the provider refuses the shop's credentials, or nothing signs its tokens */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `too_large` */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unsupported_media_type` */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `rate_limited` */
            429: {
                headers: {
                    /** @description What is left. */
                    RateLimit?: string;
                    /** @description Whose quota it is, and how large. */
                    "RateLimit-Policy"?: string;
                    /** @description Seconds until there is more. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `internal` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `overloaded`; `temporarily_unavailable`: the provider or the database is away; `outcome_unknown`: log in again */
            503: {
                headers: {
                    /** @description Seconds until a repeat may do better. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    wechat_login: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WechatLogin"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BuyerSession"];
                };
            };
            /** @description `invalid_request`: each wrong member is named */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unauthenticated`: the code is wrong, used or too old: get another one */
            401: {
                headers: {
                    /** @description RFC 6750: what is wrong with the token that came. */
                    "WWW-Authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `forbidden`: the provider holds this user for a risk */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `not_found`: no such shop, or it has no such login */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `conflict`: the provider refuses the shop's credentials, or nothing signs its tokens */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `too_large` */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unsupported_media_type` */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `rate_limited` */
            429: {
                headers: {
                    /** @description What is left. */
                    RateLimit?: string;
                    /** @description Whose quota it is, and how large. */
                    "RateLimit-Policy"?: string;
                    /** @description Seconds until there is more. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `internal` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `overloaded`; `temporarily_unavailable`: the provider or the database is away; `outcome_unknown`: log in again */
            503: {
                headers: {
                    /** @description Seconds until a repeat may do better. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    image: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The SHA-256 of its bytes, 64 small hexadecimal digits. */
                hash: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Its bytes, which never change. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "image/png": string;
                    "image/jpeg": string;
                    "image/webp": string;
                };
            };
            /** @description The client has it. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `invalid_request`: each wrong member or parameter is named */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unauthenticated` */
            401: {
                headers: {
                    /** @description RFC 6750: what is wrong with the token that came. */
                    "WWW-Authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `forbidden`: the permission that is missing is named; or the tenant is suspended; `quota_exceeded`: the tenant's plan allows no more; `current` has quota, limit and what is used */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `not_found`: none, or of another tenant */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `rate_limited` */
            429: {
                headers: {
                    /** @description What is left. */
                    RateLimit?: string;
                    /** @description Whose quota it is, and how large. */
                    "RateLimit-Policy"?: string;
                    /** @description Seconds until there is more. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `internal` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `temporarily_unavailable`: this request did nothing */
            503: {
                headers: {
                    /** @description Seconds until a repeat may do better. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    phone_codes: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PhoneCodeWanted"];
            };
        };
        responses: {
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PhoneCodeSent"];
                };
            };
            /** @description `invalid_request`: each wrong member is named */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unauthenticated`: the code is wrong, used or too old: get another one */
            401: {
                headers: {
                    /** @description RFC 6750: what is wrong with the token that came. */
                    "WWW-Authenticate"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `forbidden`: the provider holds this user for a risk */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `not_found`: no such shop, or it has no such login */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `conflict`: the provider refuses the shop's credentials, or nothing signs its tokens */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `too_large` */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `unsupported_media_type` */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `rate_limited` */
            429: {
                headers: {
                    /** @description What is left. */
                    RateLimit?: string;
                    /** @description Whose quota it is, and how large. */
                    "RateLimit-Policy"?: string;
                    /** @description Seconds until there is more. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `internal` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `overloaded`; `temporarily_unavailable`: the provider or the database is away; `outcome_unknown`: log in again */
            503: {
                headers: {
                    /** @description Seconds until a repeat may do better. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
}
