// Goal: no network, reload or double tap makes the page show what the server's rows contradict, or
// buys twice. Method: buyers with seeded whims over a small server that loses requests and
// answers; the time is virtual. A failing seed is in the message.

import { expect, test } from 'vitest'
import { Client, type Keep, Purchase, type Response, type State, type Transport, type Wish, canBuy } from '../src'

const wish: Wish = { sale_id: '1', offer_id: '9', title: 'Kettle', quantity: 1, price: { amount: 9900, currency: 'CNY' } }

/** Numbers from 0 to 1 that repeat for a seed. */
function chances(seed: number): () => number {
  let state = seed * 2654435761 + 1
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** Sleeps that end in the order of their time. */
class VirtualTime {
  now = 0
  #sleepers: { at: number; wake: () => void }[] = []
  sleep = (ms: number) => new Promise<void>(wake => this.#sleepers.push({ at: this.now + ms, wake }))

  /** Lets everything happen that is due within so long. */
  async pass(ms: number): Promise<void> {
    const end = this.now + ms
    for (;;) {
      for (let turns = 0; turns < 30; turns++) await Promise.resolve()
      this.#sleepers.sort((a, b) => a.at - b.at)
      const next = this.#sleepers[0]
      if (!next || next.at > end) break
      this.#sleepers.shift()
      this.now = next.at
      next.wake()
    }
    this.now = end
  }
}

/** The server: orders by key, sold while units are left. */
class Server {
  readonly orders = new Map<string, { order_id: string; status: string }>()
  left = 3
  faults = 0.35
  constructor(private readonly chance: () => number) {}

  answer(method: string, path: string, headers: Record<string, string>): { status: number; body: object } {
    const problem = (status: number, code: string) => ({ status, body: { code, detail: '', status } })
    const [, , , id, act] = path.split('?')[0]?.split('/') ?? []
    const order = [...this.orders.values()].find(order => order.order_id === id)
    if (method === 'POST' && path === '/v1/orders') {
      const key = headers['idempotency-key'] ?? ''
      const known = this.orders.get(key)
      if (known) return { status: 202, body: { order_id: known.order_id, status: ['pending', 'pending_payment', 'paid'].includes(known.status) ? 'accepted' : known.status } }
      if (this.left === 0) return problem(409, 'sold_out')
      this.left--
      const bought = { order_id: String(this.orders.size + 1), status: 'pending' }
      this.orders.set(key, bought)
      return { status: 202, body: bought }
    }
    if (!order) return problem(404, 'not_found')
    if (order.status === 'pending') order.status = 'pending_payment'
    if (act === 'pay' && order.status === 'pending_payment') {
      return { status: 200, body: { order_id: id, page: `/cashier/${id}` } }
    }
    if (act === 'cancel' && order.status === 'pending_payment') {
      order.status = 'cancelled'
      this.left++
    }
    if (act) return act === 'cancel' && order.status === 'cancelled' ? { status: 200, body: order } : problem(409, 'conflict')
    return { status: 200, body: { ...order, sale_id: '1', offer_id: '9', quantity: 1, reserved_at: '' } }
  }

  transport = async (request: { method: string; path: string; headers: Record<string, string> }): Promise<Response> => {
    if (this.chance() < this.faults / 2) throw new Error('the request was lost')
    const isBusy = this.chance() < this.faults / 4
    const { status, body } = isBusy ? { status: 503, body: { code: 'overloaded', detail: '' } } : this.answer(request.method, request.path, request.headers)
    if (this.chance() < this.faults / 2) throw new Error('the answer was lost')
    return { status, header: () => undefined, body: JSON.stringify(body) }
  }
}

/** A page of one buyer, which can be reloaded. */
class Page {
  states: State[] = []
  purchase: Purchase
  taps = 0
  readonly #memory = new Map<string, string>()
  #loads = 0

  constructor(private readonly server: Server, private readonly time: VirtualTime, private readonly chance: () => number) {
    this.purchase = this.#load()
  }

  #load(): Purchase {
    const keep: Keep = { get: name => this.#memory.get(name), set: (name, text) => void (text === undefined ? this.#memory.delete(name) : this.#memory.set(name, text)) }
    const load = ++this.#loads
    // A page that was reloaded sends and hears nothing any more.
    const transport: Transport = request => (load === this.#loads ? this.server.transport(request) : new Promise(() => undefined))
    const client = new Client({ transport, token: () => 'token', sleep: this.time.sleep, chance: this.chance })
    const ports = {
      client, keep, nowMs: () => this.time.now, login: async () => undefined,
      newKey: () => `key-${++this.taps}`,
      open: (path: string) => {
        const order = [...this.server.orders.values()].find(order => path.endsWith(`/${order.order_id}`))
        if (order?.status === 'pending_payment' && this.chance() < 0.7) order.status = 'paid'
      },
    }
    const purchase = new Purchase('sale:1', ports, state => this.states.push(state))
    return purchase
  }

  reload(): void {
    this.purchase = this.#load()
    this.purchase.resume()
  }
}

test('whatever is lost, one tap is one order at most, and the page tells the truth', async () => {
  let paid = 0
  for (let seed = 1; seed <= 100; seed++) {
    const [chance, time] = [chances(seed), new VirtualTime()]
    const server = new Server(chance)
    const page = new Page(server, time, chance)
    for (let act = 0; act < 12; act++) {
      const { state } = page.purchase
      const whim = chance()
      if (whim < 0.15) page.reload()
      else if (canBuy(state) && page.taps < 3) {
        page.purchase.buy(wish)
        page.purchase.buy(wish)
      } else if (state.at === 'unknown') page.purchase.again()
      else if (whim < 0.3) page.purchase.cancel()
      else if (whim < 0.8) page.purchase.pay('simulated')
      else page.purchase.wake()
      await time.pass(chance() * 8_000)
    }
    // The network is well again, and everything comes to rest.
    server.faults = 0
    if (page.purchase.state.at === 'unknown') page.purchase.again()
    await time.pass(120_000)
    const { state } = page.purchase
    const why = `seed ${seed}: ${JSON.stringify(state)}`
    expect(server.orders.size, why).toBeLessThanOrEqual(page.taps)
    const rows = [...server.orders.values()]
    if (state.at === 'settled') expect(rows.find(row => row.order_id === state.order.order_id)?.status, why).toBe(state.order.status)
    if ('order' in state && state.at !== 'settled') expect(rows.find(row => row.order_id === state.order.order_id)?.status, why).toBe('pending_payment')
    expect(['idle', 'refused', 'settled', 'payable', 'confirming'], why).toContain(state.at)
    if (state.at === 'settled' && state.order.status === 'paid') paid++
  }
  expect(paid, 'the walk reaches paid orders').toBeGreaterThan(15)
})

test('a purchase that a reload cut off goes on with its key, and after two minutes waits for the buyer', async () => {
  for (const [awayMs, orders] of [[60_000, 1], [600_000, 0]] as const) {
    const [chance, time] = [chances(7), new VirtualTime()]
    const server = new Server(chance)
    const page = new Page(server, time, chance)
    server.faults = 2
    page.purchase.buy(wish)
    await time.pass(1)
    expect(page.purchase.state.at).toBe('buying')
    time.now += awayMs
    server.faults = 0
    page.reload()
    await time.pass(50)
    expect(page.taps).toBe(1)
    expect(server.orders.size).toBe(orders)
    expect(page.purchase.state.at).toBe(orders ? 'pending' : 'unknown')
  }
})
