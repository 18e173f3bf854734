# The default model on this machine's Docker, on loopback:
#
#   docker build -t llmcore:latest .
#   install -d -o 10001 /srv/models
#   docker run --rm -v /srv/models:/models llmcore:latest pull
#   terraform -chdir=deploy/terraform/examples/local init
#   terraform -chdir=deploy/terraform/examples/local apply
terraform {
  required_version = ">= 1.5"

  required_providers {
    docker = {
      source  = "kreuzwerker/docker"
      version = ">= 3.1, < 5.0"
    }
  }
}

provider "docker" {}

variable "model_volume_path" {
  description = "Folder with the model's file."
  type        = string
  default     = "/srv/models"
}

variable "api_keys_file" {
  description = "Hashes of API keys; null asks for none, which suits loopback only."
  type        = string
  default     = null
}

module "llm" {
  source = "../../modules/llm-service"

  model_name        = "smollm2-135m-instruct"
  model_path        = "SmolLM2-135M-Instruct.Q4_1.gguf"
  model_volume_path = var.model_volume_path
  port              = 8001

  cpus          = 2
  memory_mb     = 2048
  api_keys_file = var.api_keys_file

  environment = {
    LLMCORE_N_CTX            = "8192"
    LLMCORE_HOST_CACHE_BYTES = "268435456"
  }
}

output "base_url" {
  value = module.llm.base_url
}
