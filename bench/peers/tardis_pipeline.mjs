// tardis-dev on recordings, under Node: JSON.parse, its mappers (trades, book changes, best quotes, tickers), its OrderBook, the user's hands.
//
// Started with the folder that bench.peers.export wrote; asked and answering in JSON lines as bench/peers/driver.py says. Modes: `callback`,
// mapped messages are handed to a function; `iterator`, they come through its own async generator (`normalizeMessages`), as its
// `streamNormalized` gives them to users. `base_ns` is JSON.parse alone. CPU is that of the whole process, the compiler's threads included, after
// a warm-up.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const require = createRequire(import.meta.url)
const tardis = require('tardis-dev')
const { normalizeMessages } = require('tardis-dev/dist/handy.js')
const { BybitV5BookChangeMapper } = require('tardis-dev/dist/mappers/bybit.js')

const NAMES = {
  binance: 'binance', binanceus: 'binance-us', binanceusdm: 'binance-futures', coinbaseexchange: 'coinbase', okx: 'okex', bybit: 'bybit',
  bitmex: 'bitmex', deribit: 'deribit', bitfinex: 'bitfinex', kucoin: 'kucoin'
}
const TODAYS = ['okx', 'bybit', 'kucoin'] // what was recorded is what it reads of today; elsewhere the date of a recording picks the mapper
const LEAST = 4000 // messages of a round: small recordings are gone through several times
const WARM_MS = Number(process.env.WARM_MS || 1500)

const now = new Date()
const known = new Map()

function load(exchange) {
  const read = (name) => readFileSync(join(process.argv[2], name), 'utf8')
  const lines = read(`${exchange}.jsonl`).split('\n').filter(Boolean).map((line) => JSON.parse(line))
  const text = (raw) => (raw.startsWith('b64:') ? Buffer.from(raw.slice(4), 'base64').toString() : raw)
  return lines.map((x) => ({ frame: x.dir === 'in', url: x.url || '', text: text(x.raw), date: new Date(x.ns / 1e6) }))
}

// REST snapshots, in the wrapping that its own real-time feeds give them
function wrapped(exchange, url, body) {
  const symbol = url.split('symbol=')[1].split('&')[0]
  if (exchange === 'kucoin') {
    return { type: 'message', generated: true, topic: `/market/level2Snapshot:${symbol}`, subject: 'trade.l2Snapshot', ...body }
  }
  return { stream: `${symbol.toLowerCase()}@depthSnapshot`, generated: true, data: body }
}

// a venue's markets are exchanges of their own there
function nameOf(exchange, url) {
  return exchange === 'bybit' && url.endsWith('/spot') ? 'bybit-spot' : NAMES[exchange]
}

function mappersOf(name, date) {
  const found = []
  for (const normalize of [tardis.normalizeTrades, tardis.normalizeBookChanges, tardis.normalizeBookTickers, tardis.normalizeDerivativeTickers]) {
    try {
      found.push(normalize(name, date))
    } catch {
      // this venue has no such messages
    }
  }
  if (name.startsWith('bybit')) found[1] = new BybitV5BookChangeMapper(name, 200) // the recorded depth
  return found
}

class User {
  constructor() {
    this.events = {}
    this.books = new Map()
    this.sum = 0
  }

  take(message) {
    this.events[message.type] = (this.events[message.type] || 0) + 1
    if (message.type !== 'book_change') return
    const key = `${message.exchange}:${message.symbol}`
    let book = this.books.get(key)
    if (book === undefined) this.books.set(key, (book = new tardis.OrderBook()))
    book.update(message)
    const best = book.bestBid() // as ours, whose best price is there to be read
    if (best !== undefined) this.sum += best.price
  }
}

function byCallback(exchange, name, steps, user, errors) {
  const mappers = mappersOf(name, steps[0].date)
  for (const step of steps) {
    try {
      const parsed = JSON.parse(step.text)
      const message = step.frame ? parsed : wrapped(exchange, step.url, parsed)
      for (const mapper of mappers) {
        if (!mapper.canHandle(message)) continue
        const mapped = mapper.map(message, step.date)
        if (!mapped) continue
        for (const one of mapped) user.take(one)
      }
    } catch (e) {
      const text = String(e).slice(0, 80)
      errors[text] = (errors[text] || 0) + 1
    }
  }
}

async function byIterator(exchange, name, steps, user) {
  async function* messages() {
    for (const step of steps) {
      const parsed = JSON.parse(step.text)
      yield { localTimestamp: step.date, message: step.frame ? parsed : wrapped(exchange, step.url, parsed) }
    }
  }
  const create = (date) => mappersOf(name, date)
  for await (const one of normalizeMessages(name, undefined, messages(), create(steps[0].date), create, false)) user.take(one)
}

// steps by the exchange that they belong to
function parted(exchange, steps) {
  const parts = new Map()
  for (const step of steps) {
    const name = nameOf(exchange, step.url)
    if (!parts.has(name)) parts.set(name, [])
    parts.get(name).push(step)
  }
  return parts
}

function base(steps) {
  for (const step of steps) JSON.parse(step.text)
}

async function cpu(times, work) {
  global.gc()
  const began = process.cpuUsage()
  for (let n = 0; n < times; n++) await work()
  const used = process.cpuUsage(began)
  return ((used.user + used.system) * 1000) / times
}

async function round(exchange, mode) {
  if (!known.has(exchange)) {
    const steps = load(exchange)
    for (const step of TODAYS.includes(exchange) ? steps : []) step.date = now
    known.set(exchange, { steps, parts: parted(exchange, steps), warm: new Set() })
  }
  const { steps, parts, warm } = known.get(exchange)
  const errors = {}
  let user
  const work = async () => {
    user = new User()
    for (const [name, some] of parts) await (mode === 'iterator' ? byIterator : byCallback)(exchange, name, some, user, errors)
  }
  if (!warm.has(mode)) {
    warm.add(mode)
    for (const until = Date.now() + WARM_MS; Date.now() < until; ) {
      await work()
      base(steps)
    }
    for (const text of Object.keys(errors)) delete errors[text]
  }
  const times = Math.ceil(LEAST / steps.length)
  const took = await cpu(times, work)
  for (const text of Object.keys(errors)) errors[text] /= times
  const baseline = await cpu(times, async () => base(steps))
  const books = [...user.books.values()].filter((b) => b.bestBid() || b.bestAsk()).length
  return { cpu_ns: took, messages: steps.length, events: user.events, books, errors, base_ns: baseline }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { exchange, mode } = JSON.parse(line)
  console.log(JSON.stringify(exchange in NAMES ? await round(exchange, mode) : { skip: 'tardis-dev does not have this venue' }))
}
