// The purchase, as a pure function: what is shown, and the one thing to do next, from what was
// shown and what happened. It knows no page, no network and no clock; `purchase.ts` drives it.
//
// What holds: one wish has one key for ever; a purchase nobody answered is repeated with that key
// or shown as unknown, never as refused; `paid` is shown when the server says so.

import { type Answer, type Bought, type Order, type OrderNow, type Payable, type Problem, type Wish, pause } from './client'

/** What the buyer is shown. */
export type State =
  | { at: 'idle' }
  /** The purchase is on its way, or waits to be sent again. `isUnsure`: an earlier try may have been taken. */
  | { at: 'buying'; wish: Wish; key: string; tries: number; isUnsure: boolean }
  /** Nobody answered for long: the buyer may ask again, with the same key. */
  | { at: 'unknown'; wish: Wish; key: string }
  /** Refused. `isUnsure`: an earlier try may have been taken all the same; the orders tell. */
  | { at: 'refused'; wish: Wish; problem: Problem; retryAfterMs?: number; isUnsure: boolean }
  /** Promised; its row is not there yet. */
  | { at: 'pending'; wish: Wish; key: string; order: Held; tries: number }
  /** An order is being fetched: nothing is known of it yet. */
  | { at: 'looking'; order: Held }
  /** To be paid. `problem`: why paying or cancelling did not come about. */
  | { at: 'payable'; order: Held; problem?: Problem | 'lost' }
  /** A payment is being opened. */
  | { at: 'opening'; order: Held; method: string; tries: number }
  /** The payment page was opened: the server has not said that it is paid. */
  | { at: 'confirming'; order: Held }
  /** The wish to cancel is on its way. */
  | { at: 'cancelling'; order: Held; tries: number }
  /** Being called off: a payment that may still come is closed first. */
  | { at: 'closing'; order: Held }
  /** Paid and what comes after it, or over: the status tells. */
  | { at: 'settled'; order: Order }
  /** There is no such order of this buyer. */
  | { at: 'missing'; order: Held }

/** An order as far as it is known. */
export type Held = Pick<Order, 'order_id' | 'offer_id' | 'sale_id' | 'quantity' | 'status'> & Partial<Order>

/** What happens. */
export type Event =
  | { is: 'buy'; wish: Wish; key: string }
  /** Asks again what became of an unknown purchase. */
  | { is: 'again' }
  | { is: 'pay'; method: string }
  | { is: 'cancel' }
  /**
   * An order is looked at: from a list, or after a reload. `isOpened`: its payment page was opened.
   * `bought`: the purchase that it came of, while its row was not seen.
   */
  | { is: 'show'; order: Held; isOpened?: boolean; bought?: { wish: Wish; key: string } }
  /** Something may have changed: the page came back, or an event arrived. */
  | { is: 'wake' }
  | { is: 'leave' }
  | { is: 'bought'; answer: Answer<Bought> }
  | { is: 'told'; answer: Answer<Order> }
  | { is: 'opened'; answer: Answer<Payable> }
  | { is: 'cancelled'; answer: Answer<OrderNow> }

/** The one thing to do next, after some milliseconds. It takes the place of the one before. */
export type Effect =
  | { do: 'buy'; wish: Wish; key: string; afterMs: number; login?: true }
  | { do: 'ask'; order: Held; afterMs: number; login?: true }
  | { do: 'pay'; order: Held; method: string; afterMs: number; login?: true }
  | { do: 'cancel'; order: Held; afterMs: number; login?: true }
  /** Leads the buyer to a payment page. Then the order is asked for. */
  | { do: 'open'; order: Held; page: string }

export type Step = [State, Effect?]

/** How often a request is sent that nobody answers. */
export const TRIES_MAX = 6
const FIRST_PAUSE_MS = 500
/** Between two looks at an order that is about to change, and at one that waits for its buyer. */
const SOON_MS = 1_000
const LATER_MS = 5_000

const UNPAID = ['pending', 'pending_payment']

/** The next state, and what to do. `chance`: from 0 to 1. */
export function step(state: State, event: Event, chance: number): Step {
  switch (event.is) {
    case 'buy':
      return canBuy(state) ? buying({ wish: event.wish, key: event.key, tries: 1, isUnsure: false }, 0) : [state]
    case 'again':
      return state.at === 'unknown' ? buying({ ...state, tries: 1, isUnsure: true }, 0) : [state]
    case 'show':
      return shown(event)
    case 'leave':
      return [{ at: 'idle' }]
    case 'pay':
      if (state.at !== 'payable' && state.at !== 'confirming') return [state]
      return opening(state.order, event.method, 1, 0)
    case 'cancel':
      if (state.at !== 'payable' && state.at !== 'confirming') return [state]
      return cancelling(state.order, 1, 0)
    case 'wake':
      return isWatching(state) ? [state, { do: 'ask', order: state.order, afterMs: 0 }] : [state]
    case 'bought':
      return state.at === 'buying' ? bought(state, event.answer, chance) : [state]
    case 'told':
      return told(state, event.answer, chance)
    case 'opened':
      return state.at === 'opening' ? opened(state, event.answer, chance) : [state]
    case 'cancelled':
      return state.at === 'cancelling' ? cancelled(state, event.answer, chance) : [state]
  }
}

/** Whether a new wish may be made: nothing of an earlier one is open. */
export const canBuy = (state: State) => ['idle', 'refused', 'settled', 'missing'].includes(state.at)

type Watching = Extract<State, { at: 'looking' | 'pending' | 'payable' | 'confirming' | 'closing' }>

/** Whether the state is an order that is asked for again and again. */
export const isWatching = (state: State): state is Watching =>
  ['looking', 'pending', 'payable', 'confirming', 'closing'].includes(state.at)

type Buying = Omit<Extract<State, { at: 'buying' }>, 'at'>

function buying({ wish, key, tries, isUnsure }: Buying, afterMs: number, login = false): Step {
  return [{ at: 'buying', wish, key, tries, isUnsure }, { do: 'buy', wish, key, afterMs, ...asked(login) }]
}

function opening(order: Held, method: string, tries: number, afterMs: number, login = false): Step {
  return [{ at: 'opening', order, method, tries }, { do: 'pay', order, method, afterMs, ...asked(login) }]
}

function cancelling(order: Held, tries: number, afterMs: number, login = false): Step {
  return [{ at: 'cancelling', order, tries }, { do: 'cancel', order, afterMs, ...asked(login) }]
}

const asked = (login: boolean) => (login ? ({ login: true } as const) : {})

/** How a refusal is met: some pass by themselves, and one needs a login. */
type Passing = { is: 'passing'; afterMs: number; login: boolean } | { is: 'final' }

function passing(answer: Exclude<Answer<unknown>, { is: 'done' }>, tries: number, chance: number): Passing {
  if (tries >= TRIES_MAX) return { is: 'final' }
  if (answer.is === 'lost') return { is: 'passing', afterMs: pause(FIRST_PAUSE_MS, tries - 1, chance), login: false }
  // A token that has ended is replaced once; the next 401 is final.
  if (answer.status === 401) return tries === 1 ? { is: 'passing', afterMs: 0, login: true } : { is: 'final' }
  if (!isPassingStatus(answer.status)) return { is: 'final' }
  return { is: 'passing', afterMs: pause(FIRST_PAUSE_MS, tries - 1, chance, answer.retryAfterMs), login: false }
}

/** Whether the status says something of the moment, and nothing of the wish. */
const isPassingStatus = (status: number) => status === 401 || status === 429 || status >= 500

/** Whether nobody can say what became of the request. */
const isUnanswered = (answer: Exclude<Answer<unknown>, { is: 'done' }>) =>
  answer.is === 'lost' ||
  (answer.status >= 500 && !['overloaded', 'temporarily_unavailable'].includes(answer.problem.code))

function bought(state: Extract<State, { at: 'buying' }>, answer: Answer<Bought>, chance: number): Step {
  const { wish, key } = state
  if (answer.is === 'done') {
    const { order_id } = answer.value
    const order: Held = { order_id, offer_id: wish.offer_id, sale_id: wish.sale_id, quantity: wish.quantity, status: 'pending' }
    return [{ at: 'pending', wish, key, order, tries: state.tries }, { do: 'ask', order, afterMs: Math.round(100 + 200 * chance) }]
  }
  const isUnsure = state.isUnsure || isUnanswered(answer)
  const next = passing(answer, state.tries, chance)
  if (next.is === 'passing') return buying({ wish, key, tries: state.tries + 1, isUnsure }, next.afterMs, next.login)
  if (answer.is === 'lost' || isUnanswered(answer) || (isUnsure && isPassingStatus(answer.status))) {
    return [{ at: 'unknown', wish, key }]
  }
  const { problem, retryAfterMs } = answer
  return [{ at: 'refused', wish, problem, isUnsure, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) }]
}

function told(state: State, answer: Answer<Order>, chance: number): Step {
  if (!isWatching(state)) return [state]
  if (answer.is === 'done') return shownAs(state, answer.value, chance)
  const { order } = state
  if (answer.is === 'refused' && answer.status === 404) {
    // A promise that was lost before it was written down: the same key buys it again.
    if (state.at === 'pending' && state.tries < TRIES_MAX) return buying({ ...state, tries: state.tries + 1, isUnsure: true }, 0)
    if (state.at === 'pending') return [{ at: 'unknown', wish: state.wish, key: state.key }]
    return [{ at: 'missing', order }]
  }
  const login = answer.is === 'refused' && answer.status === 401
  const least = answer.is === 'refused' ? answer.retryAfterMs : undefined
  return [state, { do: 'ask', order, afterMs: pause(login ? LATER_MS : SOON_MS, 1, chance, least), ...asked(login) }]
}

/** An order as it was told, beside what the buyer is doing with it. */
function shownAs(state: Watching, order: Order, chance: number): Step {
  const ask = (ms: number): Effect => ({ do: 'ask', order, afterMs: pause(ms, 0, chance) })
  if (!UNPAID.includes(order.status)) return [{ at: 'settled', order }]
  switch (state.at) {
    case 'pending':
    case 'looking':
      if (order.status === 'pending') return [{ ...state, order }, ask(SOON_MS)]
      return [{ at: 'payable', order }, ask(LATER_MS)]
    case 'payable':
      return [{ ...state, order }, ask(LATER_MS)]
    case 'confirming':
    case 'closing':
      return [{ ...state, order }, ask(SOON_MS)]
  }
}

/** An order that this page did not just buy. */
function shown({ order, isOpened, bought }: Extract<Event, { is: 'show' }>): Step {
  const ask: Effect = { do: 'ask', order, afterMs: 0 }
  if (bought) return [{ at: 'pending', ...bought, order, tries: 1 }, ask]
  return [{ at: isOpened ? 'confirming' : 'looking', order }, ask]
}

function opened(state: Extract<State, { at: 'opening' }>, answer: Answer<Payable>, chance: number): Step {
  const { order, method, tries } = state
  if (answer.is === 'done') {
    const { page } = answer.value
    return [{ at: 'confirming', order }, page ? { do: 'open', order, page } : { do: 'ask', order, afterMs: SOON_MS }]
  }
  const next = passing(answer, tries, chance)
  if (next.is === 'passing') return opening(order, method, tries + 1, next.afterMs, next.login)
  return refusedAt(order, answer)
}

function cancelled(state: Extract<State, { at: 'cancelling' }>, answer: Answer<OrderNow>, chance: number): Step {
  const { order, tries } = state
  // `202`: it is unpaid until its payment is closed. Either way the order tells.
  if (answer.is === 'done') return [{ at: 'closing', order }, { do: 'ask', order, afterMs: 0 }]
  const next = passing(answer, tries, chance)
  if (next.is === 'passing') return cancelling(order, tries + 1, next.afterMs, next.login)
  return refusedAt(order, answer)
}

/** Paying or cancelling did not come about: the order is shown as it is, and why. */
function refusedAt(order: Held, answer: Exclude<Answer<unknown>, { is: 'done' }>): Step {
  const problem = answer.is === 'lost' ? ('lost' as const) : answer.problem
  return [{ at: 'payable', order, problem }, { do: 'ask', order, afterMs: 0 }]
}
