# shellcheck shell=bash disable=SC2154 # sourced by deploy/verify.sh, whose variables these are
# Steps lint and manifests, which run no container.

step_lint() {
    if has shellcheck; then check "shellcheck" shellcheck deploy/*.sh deploy/verify/*.sh; else report skip "no shellcheck"; fi
    if check "tools of the package index" tools; then
        check "hadolint" "$work/tools/bin/hadolint" Dockerfile
        check "the compose file, with all profiles" \
            "$work/tools/bin/podman-compose" --profile tls --profile monitoring config
    fi
    if ! has promtool; then
        report skip "no promtool"
    elif [ ! -e deploy/monitoring/rules.yml ]; then
        report skip "there is no deploy/monitoring"
    else
        check "promtool: configuration and rules" promtool check config deploy/monitoring/prometheus.yml
        check "promtool: the rules' tests" promtool test rules deploy/monitoring/rules_test.yml
    fi
}

# render OVERLAY: prints its manifests; without kustomize, the files of the base, without the overlay's values.
render() {
    if has kustomize; then
        kustomize build "deploy/k8s/overlays/$1"
    elif has kubectl; then
        kubectl kustomize "deploy/k8s/overlays/$1"
    else
        local file
        for file in deploy/k8s/base/*.yaml; do
            [ "$(basename "$file")" = kustomization.yaml ] || { echo ---; cat "$file"; }
        done
    fi
}

step_manifests() {
    local overlay
    if [ ! -d deploy/k8s ]; then
        report skip "there is no deploy/k8s"
    elif check "tools of the package index" tools; then
        for overlay in deploy/k8s/overlays/*/; do
            overlay="$(basename "$overlay")"
            check "$overlay renders" eval "render '$overlay' > '$work/$overlay.yaml'" || continue
            check "$overlay keeps to Kubernetes' schemas" \
                "$work/tools/bin/python" deploy/verify/manifests.py "$work/$overlay.yaml"
        done
    fi
    if [ ! -d deploy/terraform ]; then
        report skip "there is no deploy/terraform"
    elif has terraform; then
        check "terraform fmt" terraform fmt -check -recursive deploy/terraform
        check "terraform validate: the module's variables and their rules, which need no provider" terraform_variables
        terraform_validates
    else
        report skip "no terraform"
    fi
}

terraform_variables() {
    local folder="$work/terraform" good=(-var model_name=m -var model_path=m.gguf -var model_volume_path=/srv)
    rm -rf "$folder" && mkdir "$folder" && cp deploy/terraform/modules/llm-service/variables.tf "$folder" || return 1
    terraform -chdir="$folder" init -backend=false -input=false && terraform -chdir="$folder" validate || return 1
    terraform -chdir="$folder" plan -input=false "${good[@]}" || return 1
    ! terraform -chdir="$folder" plan -input=false "${good[@]}" -var model_path=../m.gguf
}

# terraform validate needs the provider's plugin from terraform's registry.
terraform_validates() {
    local folder said
    for folder in deploy/terraform/modules/*/; do
        rm -rf "$work/terraform"
        cp -r deploy/terraform "$work/terraform"
        said="$(timeout 120 terraform -chdir="$work/terraform/${folder#deploy/terraform/}" init -backend=false -input=false 2>&1)" || {
            echo "$said" >> "$log"
            report skip "terraform validate: its registry cannot be reached"
            return
        }
        check "terraform validate $folder" terraform -chdir="$work/terraform/${folder#deploy/terraform/}" validate
    done
}
