// The shop's SDK: a typed client over a transport, the server's clock, and the purchase machine.

export * from './transport'
export * from './client'
export * from './clock'
export * from './money'
export * from './events'
export * from './machine'
export * from './purchase'
