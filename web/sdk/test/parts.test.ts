// Goal: the SDK's small parts do what their comments say. Method: tables.

import { expect, test } from 'vitest'
import { Client, EventParser, ServerClock, type Request, type Response, listen, money, pause } from '../src'

test('money is written by the minor unit of its currency, exact above 2^53 / 100', () => {
  const cases: [number, string, string, string][] = [
    [9900, 'CNY', 'zh-CN', '¥99.00'], [9900, 'CNY', 'en', '¥99.00'], [9900, 'JPY', 'en', '¥9,900'], [5, 'USD', 'en', '$0.05'],
    [9007199254740991, 'CNY', 'en', '¥90,071,992,547,409.91'], [0, 'CNY', 'en', '¥0.00'],
  ]
  for (const [amount, currency, language, text] of cases) expect(money({ amount, currency }, language)).toBe(text)
})

test('the clock keeps the sample with the shortest round trip', () => {
  const clock = new ServerClock(() => 0)
  expect(clock.now()).toBeUndefined()
  clock.take(10_000, 0, 400)
  expect(clock.now()).toBe(9_800)
  clock.take(10_100, 200, 240)
  expect(clock.now()).toBe(9_880)
  clock.take(99_999, 300, 900)
  expect(clock.now()).toBe(9_880)
})

test('events are whole however they are cut, and heartbeats are none', () => {
  const text = ':\n\nid: 7\nevent: order\ndata: {"a":\ndata: 1}\n\ndata: x\r\n\r\n'
  const whole = [{ id: '7', name: 'order', data: '{"a":\n1}' }, { id: '', name: 'message', data: 'x' }]
  for (let cut = 0; cut <= text.length; cut++) {
    const parser = new EventParser()
    expect([...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))], `cut at ${cut}`).toEqual(whole)
    expect(parser.lastId).toBe('7')
  }
})

test('a stream that breaks goes on after the last id, and one that is not there is told', async () => {
  const asked: string[] = []
  const end = new AbortController()
  const open = async (_path: string, lastId: string) => {
    asked.push(lastId)
    if (asked.length === 1) return (async function* () { yield 'id: 3\ndata: a\n\nid: 4\nda'; throw new Error('cut') })()
    if (asked.length === 2) return (async function* () { yield 'id: 4\ndata: b\n\n' })()
    return undefined
  }
  const heard: string[] = []
  const hasStream = await listen({ open, sleep: async () => undefined }, '/s', event => heard.push(event.data), end.signal)
  expect({ asked, heard, hasStream }).toEqual({ asked: ['', '3', '4'], heard: ['a', 'b'], hasStream: false })
})

test('a pause grows, is spread, and is never shorter than the server asks', () => {
  expect([pause(500, 0, 0), pause(500, 0, 1), pause(500, 3, 0.5), pause(500, 0, 0.5, 9_000)]).toEqual([250, 750, 4_000, 9_000])
})

/** A client over answers that are given one after the other. */
function scripted(answers: (Partial<Response> | 'lost')[]): { client: Client; sent: Request[] } {
  const sent: Request[] = []
  const client = new Client({
    transport: async request => {
      sent.push(request)
      const answer = answers[sent.length - 1]
      if (!answer || answer === 'lost') throw new Error('lost')
      return { status: 200, header: () => undefined, body: '{}', ...answer }
    },
    token: () => 'T', sleep: async () => undefined, chance: () => 0.5,
  })
  return { client, sent }
}

test('reads are repeated, purchases are not', async () => {
  const reads = scripted(['lost', { status: 503, body: '{"code":"overloaded"}' }, { body: '{"sales":[]}' }])
  expect(await reads.client.sales('7')).toMatchObject({ is: 'done', value: { sales: [] } })
  expect(reads.sent.length).toBe(3)
  const wish = { sale_id: '1', offer_id: '9', title: '', quantity: 1, price: { amount: 1, currency: 'CNY' } }
  const purchase = scripted(['lost'])
  expect(await purchase.client.buy(wish, 'key')).toEqual({ is: 'lost' })
  expect(purchase.sent.length).toBe(1)
  expect(purchase.sent[0]).toMatchObject({ method: 'POST', path: '/v1/orders', headers: { 'idempotency-key': 'key', authorization: 'Bearer T' } })
})

test('an unchanged sale is not sent again, and the token goes to the buyer\'s routes alone', async () => {
  const { client, sent } = scripted([{ body: '{"title":"a"}', header: name => (name === 'etag' ? '"v1"' : undefined) }, { status: 304, body: '' }])
  await client.sale('1')
  expect(await client.sale('1')).toMatchObject({ is: 'done', value: { title: 'a' } })
  expect(sent[1]?.headers).toEqual({ accept: 'application/json', 'if-none-match': '"v1"' })
})

test('what a proxy says in our place is no refusal', async () => {
  const { client } = scripted([{ status: 502, body: '<html>' }])
  expect(await client.cancel('1')).toEqual({ is: 'lost' })
})
