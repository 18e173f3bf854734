// Vercel's AI SDK: embeddings, one and many, of its provider for compatible services and of OpenAI's own.
import assert from 'node:assert/strict'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { cosineSimilarity, embed, embedMany } from 'ai'

const [url, name] = process.argv.slice(2)
const compatible = createOpenAICompatible({ name: 'llmcore', baseURL: url, apiKey: 'none' })
const openai = createOpenAI({ baseURL: url, apiKey: 'none' })
const texts = ['The library opens at nine.', 'Cats sleep all day.']

for (const model of [compatible.embeddingModel(name), openai.embedding(name)]) {
  const { embeddings, usage } = await embedMany({ model, values: texts, maxRetries: 0 })
  assert.equal(embeddings.length, 2)
  assert.ok(usage.tokens > 0)
  const { embedding } = await embed({ model, value: 'When does the library open?', maxRetries: 0 })
  assert.ok(cosineSimilarity(embedding, embeddings[0]) > cosineSimilarity(embedding, embeddings[1]))
}
