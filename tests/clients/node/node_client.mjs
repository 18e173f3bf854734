// The official OpenAI package for Node: whole, streamed, and a tool call from the streaming helper.
import assert from 'node:assert/strict'
import OpenAI from 'openai'

const [url, model] = process.argv.slice(2)
const client = new OpenAI({ baseURL: url, apiKey: 'none', maxRetries: 0 })
const messages = [{ role: 'user', content: 'Which time is it in Paris?' }]
const common = { model, messages, temperature: 0 }

const whole = await client.chat.completions.create({ ...common, max_tokens: 16 })
assert.ok(whole.choices[0].message.content)
let text = ''
for await (const chunk of await client.chat.completions.create({ ...common, max_tokens: 16, stream: true })) {
  text += chunk.choices[0]?.delta?.content ?? ''
}
assert.ok(text)

const parameters = { type: 'object', properties: { zone: { type: 'string' } }, required: ['zone'] }
const tools = [{ type: 'function', function: { name: 'clock', parameters } }]
const tool_choice = { type: 'function', function: { name: 'clock' } }
const message = await client.chat.completions.stream({ ...common, tools, tool_choice }).finalMessage()
assert.equal(message.tool_calls.length, 1)
assert.equal(message.tool_calls[0].function.name, 'clock')
assert.equal(typeof JSON.parse(message.tool_calls[0].function.arguments).zone, 'string')

const response = await client.responses.create({ model, input: 'Say hello.', max_output_tokens: 16 })
assert.ok(response.output_text)

await assert.rejects(client.chat.completions.create({ ...common, temperature: -1 }), (error) => {
  assert.ok(error instanceof OpenAI.BadRequestError)
  assert.equal(error.param, 'temperature')
  return true
})
