// Drives the purchase machine: does its effects one at a time, keeps what must outlive a reload,
// and listens to the order's events where the server has them.

import type { Client, Session, Wish } from './client'
import { type OpenStream, listen } from './events'
import { type Effect, type Event, type Held, type State, canBuy, isWatching, step } from './machine'

/** Where a few texts are kept over reloads: `localStorage`, or a mini-program's. */
export interface Keep {
  get(name: string): string | undefined
  set(name: string, text: string | undefined): void
}

/** What a purchase needs from where it runs. */
export interface PurchasePorts {
  client: Client
  keep: Keep
  /** A new random key, never given before. */
  newKey(): string
  /** Epoch milliseconds, of any clock that goes on while the page is closed. */
  nowMs(): number
  /** Gets a token, or leaves things as they are. */
  login(): Promise<Session | undefined>
  /** Leads the buyer to a payment page. */
  open(page: string): void
  /** Streams of events; left out where there are none: the order is polled. */
  stream?: OpenStream
}

/** What is kept: the wish with its key, the order once there is one, and whether its payment page was opened. */
interface Kept {
  wish?: Wish
  key?: string
  order?: Held
  isOpened?: boolean
  /** When the buyer tapped. */
  atMs: number
}

/** After a reload within so long the purchase goes on by itself; later the buyer is asked first. */
export const RESUME_MS = 120_000

/** One purchase, or one order; `name` tells what is kept of it from what is kept of others. */
export class Purchase {
  #state: State = { at: 'idle' }
  /** Which effect is the last one: what an earlier one brings is passed over. */
  #turn = 0
  #watched: { order: string; end: AbortController } | undefined
  #hasStream: boolean

  constructor(
    private readonly name: string,
    private readonly ports: PurchasePorts,
    private readonly changed: (state: State) => void,
  ) {
    this.#hasStream = ports.stream !== undefined
  }

  get state(): State {
    return this.#state
  }

  buy = (wish: Wish) => this.#happen({ is: 'buy', wish, key: this.ports.newKey() })
  again = () => this.#happen({ is: 'again' })
  pay = (method: string) => this.#happen({ is: 'pay', method })
  cancel = () => this.#happen({ is: 'cancel' })
  wake = () => this.#happen({ is: 'wake' })
  leave = () => this.#happen({ is: 'leave' })

  /** Shows an order. One whose payment page was opened here is still being confirmed. */
  show = (order: Held) => {
    const kept = this.#kept()
    this.#happen({ is: 'show', order, isOpened: kept?.order?.order_id === order.order_id && kept.isOpened === true })
  }

  /** Goes on with what a reload interrupted. */
  resume(): void {
    const kept = this.#kept()
    if (!kept) return
    const { wish, key, order } = kept
    if (order) return this.#happen({ is: 'show', order, isOpened: kept.isOpened === true, ...(wish && key ? { bought: { wish, key } } : {}) })
    if (!wish || !key) return
    // Whether it was taken is not known; the same key tells, or buys it now.
    this.#state = { at: 'unknown', wish, key }
    this.changed(this.#state)
    if (this.ports.nowMs() - kept.atMs < RESUME_MS) this.again()
  }

  #happen(event: Event): void {
    const [state, effect] = step(this.#state, event, this.ports.client.ports.chance())
    const isSame = state === this.#state
    this.#state = state
    this.#remember(state)
    if (effect) void this.#carryOut(effect)
    else if (!isSame) this.#turn++
    this.#listen(state)
    if (!isSame) this.changed(state)
  }

  async #carryOut(effect: Effect): Promise<void> {
    const turn = ++this.#turn
    const { client } = this.ports
    if (effect.do === 'open') {
      this.ports.open(effect.page)
      return this.#happen({ is: 'wake' })
    }
    if (effect.afterMs) await client.ports.sleep(effect.afterMs)
    if (turn !== this.#turn) return
    if (effect.login || !client.ports.token()) await this.ports.login()
    if (turn !== this.#turn) return
    const event = await this.#send(effect)
    if (turn === this.#turn) this.#happen(event)
  }

  async #send(effect: Exclude<Effect, { do: 'open' }>): Promise<Event> {
    const { client } = this.ports
    switch (effect.do) {
      case 'buy':
        return { is: 'bought', answer: await client.buy(effect.wish, effect.key) }
      case 'ask':
        return { is: 'told', answer: await client.order(effect.order.order_id, effect.order.offer_id) }
      case 'pay':
        return { is: 'opened', answer: await client.pay(effect.order.order_id, effect.method) }
      case 'cancel':
        return { is: 'cancelled', answer: await client.cancel(effect.order.order_id) }
    }
  }

  /** Writes down, before anything is sent, what a reload must find. */
  #remember(state: State): void {
    const nowMs = this.ports.nowMs()
    const save = (kept: Kept | undefined) => this.ports.keep.set(this.name, kept && JSON.stringify(kept))
    const isTap = state.at === 'buying' && state.tries === 1 && !state.isUnsure
    const atMs = isTap ? nowMs : (this.#kept()?.atMs ?? nowMs)
    if (canBuy(state)) save(undefined)
    else if (state.at === 'buying') save({ wish: state.wish, key: state.key, atMs })
    else if (state.at === 'pending') save({ wish: state.wish, key: state.key, order: state.order, atMs })
    else if (state.at === 'confirming') save({ order: state.order, isOpened: true, atMs })
    else if ('order' in state && state.at !== 'looking') save({ order: state.order, atMs })
  }

  #kept(): Kept | undefined {
    try {
      return JSON.parse(this.ports.keep.get(this.name) ?? 'null') ?? undefined
    } catch {
      return undefined
    }
  }

  /** Events of the order wake the machine before its next look is due. */
  #listen(state: State): void {
    const order = isWatching(state) ? state.order.order_id : undefined
    if (order === this.#watched?.order) return
    this.#watched?.end.abort()
    this.#watched = undefined
    const { stream: open, client } = this.ports
    if (!order || !this.#hasStream || !open) return
    const end = new AbortController()
    this.#watched = { order, end }
    const heard = listen({ open, sleep: client.ports.sleep }, `/v1/orders/${order}/stream`, () => this.wake(), end.signal)
    void heard.then(hasStream => {
      this.#hasStream &&= hasStream
    })
  }
}
