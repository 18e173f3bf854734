// Vercel's AI SDK, with its provider for compatible services and with OpenAI's own (chat, Responses, completions):
// whole, streamed, typed output, tools in several steps, an abort in mid-stream, refusals.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { APICallError, Output, generateObject, generateText, stepCountIs, streamObject, streamText, tool } from 'ai'
import { z } from 'zod'

const [url, name] = process.argv.slice(2)
const compatible = createOpenAICompatible({
  name: 'llmcore', baseURL: url, apiKey: 'none', includeUsage: true, supportsStructuredOutputs: true,
})
const openai = createOpenAI({ baseURL: url, apiKey: 'none' })

// A question that the default model answers alike however its kernels round.
const system = "The dog's name is Bruno. Answer in one sentence."
const question = "What is the dog's name?"
const common = { temperature: 0, maxRetries: 0 }

async function gather(stream) {
  const parts = []
  for await (const part of stream) parts.push(part)
  return parts
}

async function checkText(model) {
  const request = { ...common, model, system, prompt: question, maxOutputTokens: 16 }
  const whole = await generateText(request)
  assert.match(whole.text, /Bruno/)
  assert.ok(['stop', 'length'].includes(whole.finishReason), whole.finishReason)
  assert.ok(whole.usage.inputTokens > 0 && whole.usage.outputTokens > 0)
  assert.deepEqual(whole.warnings ?? [], [])

  const streamed = streamText(request)
  const texts = await gather(streamed.textStream)
  assert.ok(texts.length > 1)
  assert.equal(texts.join(''), whole.text)
  assert.equal(await streamed.finishReason, whole.finishReason)
  assert.equal((await streamed.usage).outputTokens, whole.usage.outputTokens)
}

async function checkCompletion(model) {
  const request = { ...common, model, prompt: 'Once upon a time', maxOutputTokens: 8, stopSequences: ['#'] }
  const whole = await generateText(request)
  assert.ok(whole.text)
  assert.ok(whole.usage.outputTokens > 0)
  const streamed = streamText(request)
  const parts = await gather(streamed.fullStream)
  assert.deepEqual(parts.filter((part) => part.type === 'error'), [])
  assert.equal(parts.filter((part) => part.type === 'text-delta').map((part) => part.text).join(''), await streamed.text)
  assert.ok((await streamed.usage).outputTokens > 0)
}

const schema = z.object({ city: z.enum(['Paris', 'Rome']), population: z.number().int().min(0).max(99), capital: z.boolean() })

async function checkObjects(model) {
  const request = { ...common, model, prompt: 'Describe Paris.', maxOutputTokens: 100 }
  schema.parse((await generateText({ ...request, output: Output.object({ schema }) })).output)
  const streamed = streamText({ ...request, output: Output.object({ schema }) })
  const partials = await gather(streamed.partialOutputStream)
  assert.ok(partials.length > 1)
  assert.deepEqual(schema.parse(partials.at(-1)), await streamed.output)
  const choice = await generateText({ ...request, output: Output.choice({ options: ['warm', 'cold'] }) })
  assert.ok(['warm', 'cold'].includes(choice.output))

  // The same in earlier versions' names.
  schema.parse((await generateObject({ ...request, schema })).object)
  const old = streamObject({ ...request, schema })
  assert.deepEqual(schema.parse((await gather(old.partialObjectStream)).at(-1)), await old.object)
}

async function checkTools(model) {
  const asked = []
  const tools = {
    clock: tool({
      description: 'Tells the time of a city.',
      inputSchema: z.object({ city: z.enum(['Paris', 'Rome']) }),
      execute: async ({ city }) => {
        asked.push(city)
        return { city, time: '12:30' }
      },
    }),
  }
  const request = {
    ...common, model, tools, prompt: 'Which time is it in Paris?', maxOutputTokens: 48, stopWhen: stepCountIs(2),
    prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? { type: 'tool', toolName: 'clock' } : 'none' }),
  }
  const whole = await generateText(request)
  assert.equal(whole.steps.length, 2)
  assert.equal(whole.steps[0].finishReason, 'tool-calls')
  assert.deepEqual(whole.steps[0].toolCalls.map((call) => call.toolName), ['clock'])
  assert.deepEqual(whole.steps[0].toolResults.map((result) => result.output.time), ['12:30'])
  assert.ok(whole.text)

  const streamed = streamText(request)
  const parts = await gather(streamed.fullStream)
  assert.deepEqual(parts.filter((part) => part.type === 'error'), [])
  assert.ok(parts.some((part) => part.type === 'tool-input-delta'))
  assert.ok(await streamed.text)
  assert.equal(asked.length, 2)

  // A tool without `execute` is left to the caller.
  const left = await generateText({
    ...request, tools: { clock: { ...tools.clock, execute: undefined } }, toolChoice: 'required', prepareStep: undefined,
  })
  assert.ok(['Paris', 'Rome'].includes(left.toolCalls[0].input.city))
  assert.equal(asked.length, 2)
}

async function countActive() {
  const page = await (await fetch(new URL('/metrics', url))).text()
  const gauges = page.split('\n').filter((line) => /^llm_service_engine_(running|waiting)_requests\{/.test(line))
  assert.equal(gauges.length, 2)
  return gauges.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

async function checkAbort(model) {
  const abort = new AbortController()
  let isAborted = false
  const request = { ...common, model, prompt: 'Count to one million.', maxOutputTokens: 2000, abortSignal: abort.signal }
  const streamed = streamText({ ...request, onAbort: () => { isAborted = true } })
  let n = 0
  for await (const part of streamed.fullStream) {
    if (part.type === 'text-delta' && ++n === 3) {
      assert.equal(await countActive(), 1)
      abort.abort()
    }
  }
  assert.ok(isAborted && n < 2000)
  for (let tries = 0; await countActive() > 0; tries++) {
    assert.ok(tries < 200, 'the aborted request still runs')
    await sleep(50)
  }
}

async function checkRefusals(model) {
  await assert.rejects(generateText({ ...common, model, prompt: question, temperature: 1e9 }), (error) => {
    assert.ok(APICallError.isInstance(error), error)
    assert.equal(error.statusCode, 400)
    assert.equal(error.isRetryable, false)
    assert.match(error.message, /temperature/)
    return true
  })
}

for (const model of [compatible(name), openai.chat(name), openai(name)]) {
  await checkText(model)
  await checkObjects(model)
  await checkTools(model)
  await checkAbort(model)
  await checkRefusals(model)
}
for (const model of [compatible.completionModel(name), openai.completion(name)]) {
  await checkCompletion(model)
}
