# --- what is served ---

variable "model_name" {
  description = "Id of the model in /v1/models and in requests."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._/-]*$", var.model_name))
    error_message = "A model's name has letters, digits, dots, dashes, underscores and slashes, and begins with a letter or digit."
  }
}

variable "model_path" {
  description = "GGUF file to serve, relative to model_volume_path (of a split model: its first part)."
  type        = string

  validation {
    condition     = can(regex("^[^/].*\\.gguf$", var.model_path)) && !contains(split("/", var.model_path), "..")
    error_message = "The path names a .gguf file below model_volume_path, without a slash at its beginning and without ..."
  }
}

variable "model_volume_path" {
  description = "Folder on the Docker host that holds model files; mounted read-only. It must exist and be readable for user 10001."
  type        = string

  validation {
    condition     = startswith(var.model_volume_path, "/")
    error_message = "The folder is an absolute path on the Docker host."
  }
}

# --- where ---

variable "name" {
  description = "Name of the container, and the beginning of its volume's name."
  type        = string
  default     = "llm"

  validation {
    condition     = can(regex("^[a-zA-Z0-9][a-zA-Z0-9_.-]+$", var.name))
    error_message = "Docker's names have at least two letters, digits, underscores, dots or dashes."
  }
}

variable "image" {
  description = "Image of the service, as `docker build -t llmcore:latest .` makes it. The Docker host has it, or can pull it."
  type        = string
  default     = "llmcore:latest"
}

variable "port" {
  description = "Port of the Docker host."
  type        = number
  default     = 8001

  validation {
    condition     = var.port >= 1 && var.port <= 65535 && floor(var.port) == var.port
    error_message = "A port is a whole number from 1 to 65535."
  }
}

variable "bind_address" {
  description = "Address of the Docker host to listen on. Other hosts reach the service only if this is not a loopback address."
  type        = string
  default     = "127.0.0.1"

  validation {
    condition     = can(cidrhost("${var.bind_address}/32", 0)) || can(cidrhost("${var.bind_address}/128", 0))
    error_message = "This is an IP address, not a name."
  }
}

variable "network_names" {
  description = "Docker networks that the container joins besides the port, under its name."
  type        = set(string)
  default     = []
}

# --- how much ---

variable "cpus" {
  description = "CPUs that the container may use. The service takes the whole part of it as its number of threads."
  type        = number
  default     = 4

  validation {
    condition     = var.cpus >= 0.5
    error_message = "At least half a CPU."
  }
}

variable "memory_mb" {
  description = "Memory limit in MB; swap is not used. docs/DEPLOYMENT.md reckons what a model needs."
  type        = number
  default     = 16384

  validation {
    condition     = var.memory_mb >= 512 && floor(var.memory_mb) == var.memory_mb
    error_message = "A whole number of MB, at least 512."
  }
}

variable "threads" {
  description = "Threads for computing; null takes the physical cores within the limit of cpus, which is nearly always best."
  type        = number
  default     = null

  validation {
    condition     = var.threads == null || try(var.threads >= 1 && var.threads <= 1024 && floor(var.threads) == var.threads, false)
    error_message = "A whole number from 1 to 1024, or null."
  }
}

# --- how ---

variable "api_keys_file" {
  description = "File on the Docker host with hashes of API keys, the lines that `llmcore key` prints; null asks for no keys."
  type        = string
  default     = null

  validation {
    condition     = var.api_keys_file == null || try(startswith(var.api_keys_file, "/"), false)
    error_message = "The file is an absolute path on the Docker host, readable for user 10001; or null."
  }
}

variable "environment" {
  description = "Further options of the service (docs/CONFIGURATION.md), as LLMCORE_N_CTX = \"16384\"."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key in keys(var.environment) : can(regex("^[A-Z][A-Z0-9_]*$", key))])
    error_message = "Names of environment variables have capital letters, digits and underscores."
  }

  validation {
    condition = length(setintersection(keys(var.environment), [
      "HOST", "PORT", "MODEL_PATH", "MODEL_NAME", "OMP_NUM_THREADS", "LLMCORE_API_KEYS_FILE", "LLMCORE_DRAIN_S",
      "LLMCORE_HOST", "LLMCORE_PORT", "LLMCORE_MODEL_PATH", "LLMCORE_MODEL_NAME", "LLMCORE_THREADS",
    ])) == 0
    error_message = "Address, port, model, threads, keys file and drain have variables of their own in this module."
  }
}

variable "drain_s" {
  description = "Seconds that running answers get to finish when the container is stopped."
  type        = number
  default     = 25

  validation {
    condition     = var.drain_s >= 0 && var.drain_s <= 3600 && floor(var.drain_s) == var.drain_s
    error_message = "A whole number of seconds from 0 to 3600."
  }
}

variable "restart" {
  description = "Restart policy of Docker."
  type        = string
  default     = "unless-stopped"

  validation {
    condition     = contains(["no", "on-failure", "always", "unless-stopped"], var.restart)
    error_message = "One of no, on-failure, always, unless-stopped."
  }
}

variable "healthcheck" {
  description = "How Docker asks for readiness. start_period covers loading and the measurements of a first start."
  type = object({
    interval     = optional(string, "10s")
    timeout      = optional(string, "5s")
    retries      = optional(number, 6)
    start_period = optional(string, "10m")
  })
  default = {}

  validation {
    condition = alltrue([
      for each in [var.healthcheck.interval, var.healthcheck.timeout, var.healthcheck.start_period] :
      can(regex("^([0-9]+(ms|s|m|h))+$", each))
    ])
    error_message = "Durations are written like 500ms, 10s or 1m30s."
  }
}

variable "wait" {
  description = "Whether apply waits until the service is ready, and fails if it does not become so within wait_timeout_s."
  type        = bool
  default     = true
}

variable "wait_timeout_s" {
  description = "See wait."
  type        = number
  default     = 900
}
