output "base_url" {
  description = "What OpenAI clients take as their base URL, from the Docker host."
  value       = "http://${local.url_host}:${var.port}/v1"
}

output "metrics_url" {
  description = "What Prometheus scrapes."
  value       = "http://${local.url_host}:${var.port}/metrics"
}

output "container_id" {
  description = "Id of the container."
  value       = docker_container.llm.id
}

output "container_name" {
  description = "Name of the container: its host name in the networks of network_names."
  value       = docker_container.llm.name
}

output "model_name" {
  description = "Id of the model, for the field `model` of requests."
  value       = var.model_name
}

output "state_volume" {
  description = "Volume with what was measured of the machine."
  value       = docker_volume.state.name
}
