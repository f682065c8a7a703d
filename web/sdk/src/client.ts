// The buyer's surface as typed calls. Reads are repeated here, since a read changes nothing; a
// purchase is repeated by the purchase machine alone, which keeps its Idempotency-Key.

import type { components } from './api'
import type { Request, Transport } from './transport'

type Schemas = components['schemas']
export type Sale = Schemas['Sale']
export type SaleList = Schemas['SaleList']
export type ListedSale = Schemas['ListedSale']
export type Offer = Schemas['Offer']
export type Order = Schemas['Order']
export type OrderPage = Schemas['OrderPage']
export type Price = Schemas['Price']
export type Problem = Schemas['Problem']
export type Bought = Schemas['Bought']
export type Branding = Schemas['Branding']
export type Session = Schemas['BuyerSession']

/** Where an order stands, as the routes that change it answer. */
export interface OrderNow {
  order_id: string
  status: string
}

/** A payment that was opened at a provider. */
export interface Payable {
  order_id: string
  number: string
  method: string
  amount: Price
  expires_at: string
  page?: string
  code?: string
}

/** What a route answered: done, refused with a problem, or nobody knows. */
export type Answer<T> =
  | { is: 'done'; status: number; value: T }
  | { is: 'refused'; status: number; problem: Problem; retryAfterMs: number | undefined }
  | { is: 'lost' }

/** What a buyer wants, as the page showed it. */
export interface Wish {
  sale_id: string
  offer_id: string
  title: string
  quantity: number
  price: Price
}

/** Longest wait for an answer; a purchase is answered after some seconds at the worst. */
const TIMEOUT_MS = 10_000
/** Attempts of a read. */
const READS_MAX = 3
/** The first pause between two reads; each further one is twice as long. */
const READ_PAUSE_MS = 400
/** A read does not wait longer than this: whoever reads sees the refusal instead. */
const READ_PAUSE_MAX_MS = 3_000

/** What the client needs from where it runs. */
export interface ClientPorts {
  transport: Transport
  /** The buyer's token, if there is one. */
  token(): string | undefined
  sleep(ms: number): Promise<void>
  /** From 0 to 1. */
  chance(): number
}

/** The typed client. */
export class Client {
  /** Bodies by their path, with the tag by which the server knows them unchanged. */
  readonly #known = new Map<string, { tag: string; body: string }>()

  constructor(readonly ports: ClientPorts) {}

  time = () => this.#send<Schemas['Time']>({ method: 'GET', path: '/v1/time' })
  branding = (shop: string) => this.#read<Branding>(`/v1/branding/${encodeURIComponent(shop)}`)
  sales = (tenant: string, cursor?: string) =>
    this.#read<SaleList>(`/v1/sales?tenant=${encodeURIComponent(tenant)}${page(cursor)}`)
  sale = (sale: string) => this.#read<Sale>(`/v1/sales/${encodeURIComponent(sale)}`)
  orders = (cursor?: string) => this.#read<OrderPage>(`/v1/orders?limit=20${page(cursor)}`, true)

  /** One look at an order; `offer` finds it before it has its row. */
  order = (order: string, offer: string) =>
    this.#send<Order>({ method: 'GET', path: `/v1/orders/${order}?offer_id=${offer}` }, true)

  /** Buys once. The same key is the same purchase, however often it is sent. */
  buy = ({ offer_id, quantity, price }: Wish, key: string) => {
    const body = JSON.stringify({ offer_id, quantity, expected_price: price })
    return this.#send<Bought>({ method: 'POST', path: '/v1/orders', body }, true, { 'idempotency-key': key })
  }

  /** Opens a payment; repeated it is the same attempt. */
  pay = (order: string, method: string) =>
    this.#send<Payable>({ method: 'POST', path: `/v1/orders/${order}/pay`, body: JSON.stringify({ method }) }, true)

  /** Cancels an unpaid order; repeated it answers the same. */
  cancel = (order: string) => this.#send<OrderNow>({ method: 'POST', path: `/v1/orders/${order}/cancel` }, true)

  /** The demo's login: a new buyer of the demo's shop. Other shops answer 404. */
  demoLogin = () => this.#send<Session>({ method: 'POST', path: '/demo/login' })

  async #read<T>(path: string, asBuyer = false): Promise<Answer<T>> {
    for (let reads = 1; ; reads++) {
      const answer = await this.#send<T>({ method: 'GET', path }, asBuyer)
      const isPassing = answer.is === 'lost' || (answer.is === 'refused' && [429, 502, 503, 504].includes(answer.status))
      if (!isPassing || reads >= READS_MAX) return answer
      const least = answer.is === 'refused' ? (answer.retryAfterMs ?? 0) : 0
      if (least > READ_PAUSE_MAX_MS) return answer
      await this.ports.sleep(pause(READ_PAUSE_MS, reads - 1, this.ports.chance(), least))
    }
  }

  async #send<T>(
    request: Pick<Request, 'method' | 'path' | 'body'>,
    asBuyer = false,
    extra: Record<string, string> = {},
  ): Promise<Answer<T>> {
    const headers: Record<string, string> = { accept: 'application/json', ...extra }
    const token = asBuyer ? this.ports.token() : undefined
    if (token) headers.authorization = `Bearer ${token}`
    if (request.body) headers['content-type'] = 'application/json'
    const known = asBuyer ? undefined : this.#known.get(request.path)
    if (known) headers['if-none-match'] = known.tag
    try {
      const { status, header, body } = await this.ports.transport({ ...request, headers, timeout: TIMEOUT_MS })
      if (status === 304 && known) return { is: 'done', status: 200, value: JSON.parse(known.body) as T }
      if (status >= 200 && status < 300) {
        const value = JSON.parse(body) as T
        const tag = header('etag')
        if (tag && request.method === 'GET' && !asBuyer) this.#known.set(request.path, { tag, body })
        return { is: 'done', status, value }
      }
      const problem = problemOf(status, body)
      return problem ? { is: 'refused', status, problem, retryAfterMs: retryAfter(header('retry-after')) } : { is: 'lost' }
    } catch {
      // No answer, or half of one.
      return { is: 'lost' }
    }
  }
}

const page = (cursor?: string) => (cursor ? `&cursor=${encodeURIComponent(cursor)}` : '')

/** A refusal of ours; what a proxy answers in our place is none. */
function problemOf(status: number, body: string): Problem | undefined {
  try {
    const problem = JSON.parse(body) as Partial<Problem>
    return typeof problem.code === 'string' ? ({ detail: '', status, ...problem } as Problem) : undefined
  } catch {
    return undefined
  }
}

function retryAfter(value: string | undefined): number | undefined {
  const seconds = Number(value)
  return value !== undefined && Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : undefined
}

/** A pause: twice as long each time, by half to one and a half of it, never below `least`. */
export function pause(first: number, times: number, chance: number, least = 0): number {
  return Math.max(least, Math.round(first * 2 ** times * (0.5 + chance)))
}
