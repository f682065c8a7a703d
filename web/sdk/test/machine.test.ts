// Goal: the purchase machine meets every answer of the API. Method: all states that it can reach
// by every documented answer of the four routes, every status of an order and every act of a
// buyer are walked, and each step is held against the rules.

import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { type Answer, type Effect, type Event, type Held, type State, TRIES_MAX, type Wish, canBuy, isWatching, step } from '../src'

const document = JSON.parse(readFileSync(new URL('../../../engine/openapi.json', import.meta.url), 'utf8'))
const wish: Wish = { sale_id: '1001', offer_id: '9001', title: 'Kettle', quantity: 1, price: { amount: 9900, currency: 'CNY' } }
const order: Held = { order_id: '5', offer_id: '9001', sale_id: '1001', quantity: 1, status: 'pending' }
const STATUSES = ['pending', 'pending_payment', 'paid', 'fulfilled', 'completed', 'cancelled', 'expired', 'rejected', 'refunding', 'refunded']
const RETRY_AFTER_MS = 7_000

type Refused = Exclude<Answer<never>, { is: 'done' }>

const refused = (status: number, code: string, retryAfterMs?: number): Refused => ({
  is: 'refused', status, retryAfterMs, problem: { type: '', title: '', status, code, detail: '' },
})

/** Every refusal of a route by its document, besides what a server or a network may do at any time. */
function refusals(path: string, method: string): Refused[] {
  const { responses } = document.paths[path][method]
  const documented = Object.entries<{ description: string; headers?: object }>(responses).flatMap(([status, response]) => {
    const codes = [...response.description.matchAll(/`([a-z_]+)`/g)].map(([, code]) => code as string)
    const waits = response.headers && 'Retry-After' in response.headers ? RETRY_AFTER_MS : undefined
    return Number(status) < 400 ? [] : codes.map(code => refused(Number(status), code, waits))
  })
  expect(documented.length, `${method} ${path} documents its refusals`).toBeGreaterThan(3)
  return [...documented, refused(500, 'internal'), { is: 'lost' }]
}

/** The order service's refusals: its document is not committed yet, so they stand here. */
const CHANGES: Refused[] = [
  refused(400, 'invalid_request'), refused(401, 'unauthenticated'), refused(403, 'forbidden'), refused(404, 'not_found'), refused(409, 'conflict'),
  refused(429, 'rate_limited', RETRY_AFTER_MS), refused(503, 'temporarily_unavailable', RETRY_AFTER_MS),
  refused(503, 'outcome_unknown', RETRY_AFTER_MS), refused(500, 'internal'), { is: 'lost' },
]

const done = <T>(value: T, status = 200): Answer<T> => ({ is: 'done', status, value })

const EVENTS: Event[] = [
  { is: 'buy', wish, key: 'k' }, { is: 'again' }, { is: 'pay', method: 'simulated' }, { is: 'cancel' }, { is: 'wake' }, { is: 'leave' },
  { is: 'show', order }, { is: 'show', order, isOpened: true }, { is: 'show', order, bought: { wish, key: 'k' } },
  ...['accepted', 'pending', 'cancelled', 'expired', 'rejected', 'refunding', 'refunded'].map(
    (status): Event => ({ is: 'bought', answer: done({ order_id: '5', status }, 202) })),
  ...refusals('/v1/orders', 'post').map((answer): Event => ({ is: 'bought', answer })),
  ...STATUSES.map((status): Event => ({ is: 'told', answer: done({ ...order, status, reserved_at: '' }) })),
  ...refusals('/v1/orders/{order_id}', 'get').map((answer): Event => ({ is: 'told', answer })),
  ...['https://bank.example/pay', undefined].map((page): Event => ({
    is: 'opened', answer: done({ order_id: '5', number: 'n', method: 'simulated', amount: wish.price, expires_at: '', ...(page ? { page } : {}) }) })),
  ...CHANGES.map((answer): Event => ({ is: 'opened', answer })),
  ...['cancelled', 'pending_payment'].map((status): Event => ({ is: 'cancelled', answer: done({ order_id: '5', status }) })),
  ...CHANGES.map((answer): Event => ({ is: 'cancelled', answer })),
]

/** Beside the state: whether a try of this purchase has gone without an answer. */
type Walked = { state: State; effect: Effect | undefined; isUnanswered: boolean }
type Seen = { from: Walked; event: Event; to: Walked }

const ofWhom: Record<string, Effect['do']> = { bought: 'buy', told: 'ask', opened: 'pay', cancelled: 'cancel' }

function walk(): Seen[] {
  const start: Walked = { state: { at: 'idle' }, effect: undefined, isUnanswered: false }
  const [known, ahead, seen]: [Set<string>, Walked[], Seen[]] = [new Set([JSON.stringify(start)]), [start], []]
  for (let from = ahead.pop(); from; from = ahead.pop()) {
    for (const event of EVENTS) {
      const asked = ofWhom[event.is]
      // The driver hands on the answer of the last effect only.
      if (asked && from.effect?.do !== asked) continue
      const [state, next] = step(from.state, event, 0.5)
      const isUnheard = event.is === 'bought' && event.answer.is !== 'done' &&
        (event.answer.is === 'lost' || ['outcome_unknown', 'internal'].includes(event.answer.problem.code))
      const isLostPromise = event.is === 'told' && from.state.at === 'pending' && event.answer.is === 'refused' && event.answer.status === 404
      const isFresh = (event.is === 'buy' && canBuy(from.state)) || event.is === 'show' || event.is === 'leave'
      const isUnanswered = !isFresh && (from.isUnanswered || isUnheard || isLostPromise)
      // Without a new effect the earlier one stays due, as long as the state does.
      const effect = next ?? (state === from.state ? from.effect : undefined)
      const to = { state, effect, isUnanswered }
      seen.push({ from, event, to })
      const name = JSON.stringify(to)
      if (!known.has(name)) {
        known.add(name)
        ahead.push(to)
      }
    }
  }
  return seen
}

const steps = walk()
const each = (rule: (seen: Seen) => void) => {
  for (const seen of steps) rule(seen)
}
/** Texts are made of what fails alone: there are tens of thousands of steps. */
const must = (holds: boolean, seen: Seen) => {
  if (!holds) expect.fail(told(seen))
}
const told = ({ from, event, to }: Seen) => `${JSON.stringify(from.state)} + ${JSON.stringify(event)} -> ${JSON.stringify(to)}`

test('every state is reached, and every answer met', () => {
  const states = new Set(steps.map(({ to }) => to.state.at))
  expect([...states].sort()).toEqual(
    ['buying', 'cancelling', 'closing', 'confirming', 'idle', 'looking', 'missing', 'opening', 'payable', 'pending', 'refused', 'settled', 'unknown'])
  for (const event of EVENTS) expect(steps.some(seen => seen.event === event), JSON.stringify(event)).toBe(true)
})

test('a state that waits has something under way, and one that rests has nothing', () => {
  each(seen => {
    const isAtRest = canBuy(seen.to.state) || seen.to.state.at === 'unknown'
    must((seen.to.effect === undefined) === isAtRest, seen)
  })
})

test('a purchase that nobody answered is never shown as refused for certain', () => {
  each(seen => {
    if (seen.to.state.at === 'refused' && !seen.to.state.isUnsure) must(!seen.to.isUnanswered, seen)
  })
})

test('a refusal that has to be heard is shown as it is', () => {
  const codes = ['sold_out', 'limit_reached', 'not_started', 'ended', 'paused', 'price_changed', 'members_only', 'wrong_subject', 'idempotency_mismatch']
  const shown = steps.filter(({ event, to }) => event.is === 'bought' && event.answer.is === 'refused' && codes.includes(event.answer.problem.code) && to.state.at === 'refused')
  expect(new Set(shown.map(({ to }) => to.state.at === 'refused' && to.state.problem.code))).toEqual(new Set(codes))
})

test('paid, and every other end, is shown only when the server said it', () => {
  each(seen => {
    if (seen.to.state.at !== 'settled' || seen.from.state === seen.to.state) return
    const status = seen.event.is === 'told' && seen.event.answer.is === 'done' ? seen.event.answer.value.status : undefined
    must(status === seen.to.state.order.status && status !== 'pending' && status !== 'pending_payment', seen)
  })
})

test('nothing is bought that nobody asked for', () => {
  each(seen => {
    if (seen.to.effect?.do !== 'buy' || seen.to.effect === seen.from.effect) return
    const isLostPromise = seen.from.state.at === 'pending' && seen.event.is === 'told'
    must(['buy', 'again', 'bought'].includes(seen.event.is) || isLostPromise, seen)
    must(seen.to.effect.key === 'k', seen)
  })
})

test('a second tap changes nothing while a purchase is open', () => {
  each(seen => {
    if (seen.event.is === 'buy' && !canBuy(seen.from.state)) must(seen.to.state === seen.from.state && seen.to.effect === seen.from.effect, seen)
  })
})

test('nobody is asked sooner than Retry-After says, and no request more than six times', () => {
  each(seen => {
    const { event, to } = seen
    if ('answer' in event && event.answer.is === 'refused' && event.answer.retryAfterMs && event.answer.status !== 409 && to.effect && 'afterMs' in to.effect) {
      const isSame = to.effect.do === ofWhom[event.is]
      must(!isSame || to.effect.afterMs >= event.answer.retryAfterMs, seen)
    }
    must(!('tries' in to.state) || to.state.tries <= TRIES_MAX, seen)
  })
})

test('a refused token is replaced once, with the same key', () => {
  const [state, effect] = step({ at: 'buying', wish, key: 'k', tries: 1, isUnsure: false }, { is: 'bought', answer: refused(401, 'unauthenticated') }, 0.5)
  expect(effect).toMatchObject({ do: 'buy', key: 'k', login: true })
  expect(step(state, { is: 'bought', answer: refused(401, 'unauthenticated') }, 0.5)[0]).toMatchObject({ at: 'refused' })
})

test('an order that is asked for is asked for again, whatever comes between', () => {
  each(seen => {
    if (isWatching(seen.from.state) && seen.event.is === 'told' && seen.event.answer.is === 'lost') {
      must(seen.to.state === seen.from.state && seen.to.effect?.do === 'ask', seen)
    }
  })
})
